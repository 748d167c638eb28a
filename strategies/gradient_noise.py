"""Gaussian noise on every gradient, ever less of it.

Neelakantan et al. 2015, "Adding gradient noise improves learning for very deep networks" (arXiv
1511.06807): g <- g + N(0, sigma_t^2) with sigma_t^2 = eta / (1 + t)^gamma, t counting steps.

The paper has one task. Over a stream ``clock=global`` lets t, and so the calm, last for ever;
``clock=task`` begins again with every experience (with chunked streams: with every chunk), so that
each is explored anew. The noise is added after clipping, so that its variance is as the equation
says (unverified: what the paper does where it clips). gamma = 0.55 and eta in {0.01, 0.3, 1} are
quoted as the paper's values, unverified.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData, UsageError


class GradientNoise(GradientStrategy):
    """Follows gradients with annealed Gaussian noise."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of the noise."""

        eta: float = 0.01
        """Variance of the noise at the first step, for each weight's gradient."""
        gamma: float = 0.55
        """How fast the variance falls; 0: never."""
        clock: Literal["global", "task"] = "global"
        """Steps are counted over the whole stream, or from 0 in every experience."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("eta", "gamma"):
                value = getattr(self, name)
                if not (math.isfinite(value) and value >= 0):
                    raise UsageError(f"strategy.{name}={value} must be finite and >= 0")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.steps: Tensor

    def begin(self, task: TaskData) -> TaskData:
        """Start the clock again where it is the task's."""
        if self.config.clock == "task":
            self.steps.zero_()
        return task

    def step(self, batch: Batch) -> None:
        """One update along the clipped gradient plus noise, drawn from the learning generator."""
        gradient = self.clip(self.gradient(batch))
        self.follow(gradient.addcmul_(torch.randn_like(gradient), self.sigma()))
        self.steps.add_(1)

    def sigma(self) -> Tensor:
        """0-d: the noise's standard deviation at this step."""
        time = 1 + self.steps.to(self.weights.dtype)
        return time.pow(-self.config.gamma).mul(self.config.eta).sqrt()

    def diagnostics(self) -> dict[str, Tensor]:
        """``sigma``, the noise's standard deviation at the next step."""
        return {**super().diagnostics(), "sigma": self.sigma()}
