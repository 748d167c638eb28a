"""Gradient noise: adds annealed Gaussian noise to every gradient.

Neelakantan et al. 2015, "Adding gradient noise improves learning for very deep networks" (arXiv
1511.06807): g <- g + N(0, sigma_t^2) with sigma_t^2 = eta / (1 + t)^gamma, t counting steps.

The paper has one task. On a stream, ``clock=global`` counts t over the whole stream, so the noise
fades for good. ``clock=task`` restarts t with every experience (with every chunk of a chunked stream),
so that each one gets noise again. The noise is added after clipping, so its variance is that of the
equation (unverified: what the paper does when it clips). gamma = 0.55 and eta in {0.01, 0.3, 1} are
quoted as the paper's values, unverified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData
from clbench.settings import AtLeast
from clbench.space import Log


class GradientNoise(GradientStrategy):
    """Follows gradients with annealed Gaussian noise."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of the noise."""

        eta: Annotated[float, AtLeast(0)] = field(default=0.01, metadata={"space": Log(1e-4, 1)})
        """Variance of the noise at the first step, for each weight's gradient."""
        gamma: Annotated[float, AtLeast(0)] = 0.55
        """Exponent with which the variance falls; 0: it stays constant."""
        clock: Literal["global", "task"] = "global"
        """Steps are counted over the whole stream (global), or from 0 in every experience (task)."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.steps: Tensor

    def begin(self, task: TaskData) -> TaskData:
        """Restart the count of steps if ``clock=task``."""
        if self.config.clock == "task":
            self.steps.zero_()
        return task

    def step(self, batch: Batch) -> None:
        """Update the weights along the clipped gradient plus noise of the learning generator."""
        gradient = self.clip(self.gradient(batch))
        self.follow(gradient.addcmul_(torch.randn_like(gradient), self.sigma()))
        self.steps.add_(1)

    def sigma(self) -> Tensor:
        """Compute the noise's standard deviation at this step, 0-d."""
        time = 1 + self.steps.to(self.weights.dtype)
        return time.pow(-self.config.gamma).mul(self.config.eta).sqrt()

    def diagnostics(self) -> dict[str, Tensor]:
        """Add ``sigma``, the noise's standard deviation at the next step."""
        return {**super().diagnostics(), "sigma": self.sigma()}
