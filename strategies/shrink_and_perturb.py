"""Shrink and perturb: old weights made smaller, plus a little of a fresh network.

Ash & Adams 2020, "On warm-starting neural network training" (NeurIPS, arXiv 1910.08475): before
training goes on with new data, w <- shrink w + noise. What was learnt is kept up to scale, and
gradients are those of a young network again.

- ``every=task``: before every experience w <- shrink w + sigma w', with w' newly initialised weights
  (the paper's equation says normal noise; fresh weights have each layer's own scale).
- ``every=step``: the continuous form of Dohare et al. 2024 (Nature 632:768): after every step
  w <- shrink w + sigma N(0, 1). They write the shrinking as weight decay; with both, shrink is
  1 - lr * weight_decay. Their strengths are far smaller: weight decay and noise of 1e-5.

With chunked streams an experience is a chunk. The paper's shrink = 0.4, sigma = 0.1 are for a few
restarts; over a thousand tasks a thousand of them leave nothing, so the defaults are gentler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from clbench.errors import UsageError
from clbench.strategy import Batch, GradientStrategy
from clbench.stream import TaskData


class ShrinkAndPerturb(GradientStrategy):
    """Mixes the weights with fresh ones at every task, or with noise at every step."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of shrink and perturb."""

        shrink: float = 0.99
        """What the weights are multiplied by."""
        sigma: float = 0.01
        """What is added: this times fresh weights (every=task), or normal noise of this spread."""
        every: Literal["task", "step"] = "task"
        """Before each experience, or after each step (then far gentler: shrink 0.999999)."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.shrink <= 1:
                raise UsageError(f"strategy.shrink={self.shrink} must be in [0, 1]")
            if not (math.isfinite(self.sigma) and self.sigma >= 0):
                raise UsageError(f"strategy.sigma={self.sigma} must be finite and >= 0")

    def begin(self, task: TaskData) -> TaskData:
        """Before a task: shrink, and add fresh weights."""
        if self.config.every == "task":
            fresh = self.fresh_weights()
            self.weights.mul_(self.config.shrink).add_(fresh, alpha=self.config.sigma)
        return task

    def step(self, batch: Batch) -> None:
        """One update; then, where it is due, shrink and add noise."""
        super().step(batch)
        if self.config.every == "step":
            noise = torch.randn_like(self.weights)
            self.weights.mul_(self.config.shrink).add_(noise, alpha=self.config.sigma)
