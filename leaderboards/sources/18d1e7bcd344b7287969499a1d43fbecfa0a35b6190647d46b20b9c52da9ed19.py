"""UPGD: utility-based perturbed gradient descent; useful weights change little, others are shaken.

Elsayed & Mahmood 2024, "Addressing Loss of Plasticity and Catastrophic Forgetting in Continual
Learning" (ICLR, arXiv 2404.00781), first-order utility with the global maximum. With g the gradient of
the step's loss, xi ~ N(0, sigma^2) noise and eta the learning rate, each step

    u <- beta u + (1 - beta) (-g w)                         (utility of every weight)
    s  = sigmoid(u / max u)                                 (max over all weights of the network)
    w <- (1 - eta lambda) w - 2 eta (g + xi) (1 - s),       lambda = ``weight_decay``.

With the factor 2 a weight of no utility (s = 1/2) takes a plain step. It is in the optimizer of the
authors' README. The code of their experiments has none: for the same step its learning rate is twice
ours, and its weight decay half. A correction of u for its start at zero cancels in u / max u.
``gates=noise`` is the variant that does not protect: w <- (1 - eta lambda) w - eta (g + 2 xi (1 - s)).
The authors' code has no factor 2 there: its sigma is twice ours.

Deviations: the authors' code divides the corrected u by the maximum of the uncorrected one, so that in
the first 1 / (1 - beta) steps its s is close to 1 for a useful weight and close to 0 for a harmful one.
The gradient is clipped by ``clip_norm`` before anything else; a maximum below the smallest positive
number is taken as that, so that where no weight is useful all are free. The authors' learning rates are
0.01 and less, and steps are of one sample; the common default here is 0.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, UsageError
from clbench.settings import AtLeast, Within
from clbench.space import Choices, Log


class UPGD(GradientStrategy):
    """Adds noise to gradient steps and protects the weights that the loss would miss most."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of utility-based perturbed gradient descent."""

        beta: Annotated[float, Within(0, 1, open_high=True)] = field(
            default=0.999, metadata={"space": Choices(0.9, 0.99, 0.999)}
        )
        """Decay of the running average of utilities."""
        sigma: Annotated[float, AtLeast(0)] = field(
            default=0.001, metadata={"space": Log(0.0001, 1)}
        )
        """Standard deviation of the noise that is added to the gradient."""
        gates: Literal["update", "noise"] = "update"
        """What a weight's utility holds back. update: gradient and noise (it protects); noise: the
        noise alone."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.optimizer.lower() != "sgd" or self.momentum:
                raise UsageError(
                    "upgd has an update of its own: leave out strategy.optimizer and "
                    "strategy.momentum"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("utility", torch.zeros_like(self.weights))
        self.utility: Tensor
        """``(P,)``: the running average of -g w."""

    def step(self, batch: Batch) -> None:
        """Update the utilities, then the weights."""
        gradient = self.clip(self.gradient(batch))
        self.utility.lerp_(-gradient * self.weights, 1 - self.config.beta)
        held = 2 * (1 - scaled(self.utility))
        noise = torch.randn_like(gradient).mul_(self.config.sigma)
        if self.config.gates == "update":
            self.follow((gradient + noise).mul_(held))
        else:
            self.follow(noise.mul_(held).add_(gradient))


def scaled(utility: Tensor) -> Tensor:
    """Scale ``(P,)`` utilities to (0, 1): the sigmoid of their share of the largest one."""
    largest = utility.max().clamp_min(torch.finfo(utility.dtype).tiny)
    return torch.sigmoid(utility / largest)
