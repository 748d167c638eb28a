"""Synaptic Intelligence: weights are held as firmly as their moves have lowered earlier losses.

Zenke, Poole & Ganguli 2017 (ICML, arXiv 1703.04200). While a task is learnt, the path integral
``p_i = -sum over steps of g_i * (move of w_i)`` (eq. 3) says how much of the fall of the loss weight i
accounts for; ``sum_i p_i`` is that fall. After the task (eq. 5), with D_i the distance w_i went,

    I_i <- gamma I_i + max(p_i, 0) / (D_i^2 + xi)

and ``lam/2 sum_i I_i (w_i - a_i)^2`` holds the weights to the newest ones (eq. 4).

Conventions: g is the gradient of the loss alone, without the penalty and before clipping (the paper's;
Avalanche takes the total); the move is the one made, whatever momentum, clipping and penalty made of
it. A negative p_i counts as 0, as in the authors' code [unverified]. An experience is taken for a
task, so hidden boundaries do not matter.

Deviations: the factor 1/2 (the paper's c is lam/2), the proximal step (``clbench.quadratic``), and
``gamma`` below 1 (the paper has 1).

Defaults were chosen on the validation parts of digits and mnist5k (SCoLe of 300 tasks, task- and
class-incremental; seeds from 100 on) as a compromise: few tasks that come once, learnt long, gain
from lam = 10 and more; long recurring streams lose from there on. A smaller xi is a larger lam.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clbench import Batch, QuadraticStrategy, StreamInfo, TaskData, UsageError


class SI(QuadraticStrategy):
    """Quadratic penalties weighted by path integrals."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of Synaptic Intelligence."""

        xi: float = 0.1
        """Damping: importance of a weight that hardly moved is at most its path integral / xi."""
        gamma: float = 1.0
        """Decay of the importances per task."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (math.isfinite(self.xi) and self.xi > 0):
                raise UsageError(f"strategy.xi={self.xi} must be finite and positive")
            if not 0 <= self.gamma <= 1:
                raise UsageError(f"strategy.gamma={self.gamma} must be in [0, 1]")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        # Lives within one experience alone, so it is no part of what is remembered.
        self.register_buffer("path", torch.zeros_like(self.weights), persistent=False)
        self.path: Tensor

    def begin(self, task: TaskData) -> TaskData:
        """Start a new path, at the anchor: that is where the last task has ended."""
        self.path.zero_()
        return super().begin(task)

    def step(self, batch: Batch) -> None:
        """One update, with what it brought noted."""
        self.path.add_(self.descend_traced(self.gradient(batch)))

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Add the importances of the task and move the anchor."""
        distance = self.weights - self.anchor
        new = self.path.clamp_min(0) / (distance.square_() + self.config.xi)
        self.importance.mul_(self.config.gamma).add_(new)
        self.anchor.copy_(self.weights)
