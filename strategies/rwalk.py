"""Riemannian Walk: a running Fisher, and the fall of the loss per distance in its metric.

Chaudhry et al. 2018 (ECCV, arXiv 1801.10112). At every step, from the gradient g of the batch,

    F <- alpha g^2 + (1 - alpha) F                                      (EWC++, eq. 6)

and over every window of ``window`` steps, with D_i the move of w_i in it (eq. 7),

    s_i += (-sum of g_i * move of w_i) / (F_i D_i^2 / 2 + epsilon)

After the task negative scores count as 0, the score is averaged half and half with that of earlier
tasks, and, both divided by their largest value (so every importance is in [0, 2], however long the
stream), ``lam/2 sum_i (F_i + s_i) (w_i - a_i)^2`` holds the weights to the newest ones (eq. 8).

Conventions: g is the gradient of the loss alone, before clipping; F is the square of a batch's mean
gradient (``batched`` in ``clbench.fisher``), not a mean over samples, as in public code bases: it
costs nothing, and the division by the largest takes its scale away. Dividing by the largest, and
the size of epsilon, are Avalanche's reading of "normalised to [0, 1]" [the paper's own: unverified].
The last, shorter window of a task counts. An experience is taken for a task.

Deviations: the factor 1/2 (the paper's lambda is lam/2), the proximal step (``clbench.quadratic``),
and no replay (the paper adds stored samples in class-incremental settings).

Defaults were chosen on the validation parts of digits and mnist5k (SCoLe of 300 tasks, task- and
class-incremental; seeds from 100 on) as a compromise: 10 (1 is as good on SCoLe, 100 is worse there).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clbench import Batch, QuadraticStrategy, StreamInfo, TaskData, UsageError


class RWalk(QuadraticStrategy):
    """Quadratic penalties weighted by a running Fisher and a score of the path."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of Riemannian Walk."""

        lam: float = 10.0
        """Strength of the penalty, which is lam/2 * sum of importance * (weight - anchor)^2."""
        alpha: float = 0.9
        """Weight of the newest batch in the running Fisher."""
        window: int = 10
        """Steps over which a path's score is taken (the paper's delta t)."""
        epsilon: float = 1e-7
        """Damping of the score where the Fisher or the move is nearly 0."""
        score: bool = True
        """Whether the score counts; without it the method is EWC++."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 < self.alpha <= 1:
                raise UsageError(f"strategy.alpha={self.alpha} must be in (0, 1]")
            if self.window < 1:
                raise UsageError(f"strategy.window={self.window} must be >= 1")
            if not (math.isfinite(self.epsilon) and self.epsilon > 0):
                raise UsageError(f"strategy.epsilon={self.epsilon} must be finite and positive")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        for name, lasting in (
            ("fisher", True),
            ("score", True),
            # These live within one experience alone, so they are no part of what is remembered.
            ("task_score", False),
            ("fall", False),
            ("window_start", False),
        ):
            self.register_buffer(name, torch.zeros_like(self.weights), persistent=lasting)
        self.fisher: Tensor
        self.score: Tensor
        self.task_score: Tensor
        self.fall: Tensor
        self.window_start: Tensor
        self._steps = 0

    def begin(self, task: TaskData) -> TaskData:
        """Start a new path."""
        self._steps = 0
        self.task_score.zero_()
        self.fall.zero_()
        self.window_start.copy_(self.weights)
        return super().begin(task)

    def step(self, batch: Batch) -> None:
        """One update, with the Fisher and the path followed."""
        gradient = self.gradient(batch)
        self.fisher.lerp_(gradient.square(), self.config.alpha)
        self.fall.add_(self.descend_traced(gradient))
        self._steps += 1
        if self._steps % self.config.window == 0:
            self._close_window()

    def _close_window(self) -> None:
        """Add the score of the steps since the last one; without a step it adds nothing."""
        distance = self.weights - self.window_start
        length = self.fisher * distance.square_() / 2 + self.config.epsilon
        self.task_score.addcdiv_(self.fall, length)
        self.fall.zero_()
        self.window_start.copy_(self.weights)

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Set the importances by the Fisher and the score as they are now; move the anchor."""
        self._close_window()
        share = torch.where(self.score.any(), 0.5, 1.0)  # the first score stands alone
        self.score.lerp_(self.task_score.clamp_min(0), share.to(self.score))
        self.importance.copy_(_up_to_one(self.fisher))
        if self.config.score:
            self.importance.add_(_up_to_one(self.score))
        self.anchor.copy_(self.weights)


def _up_to_one(values: Tensor) -> Tensor:
    """``(P,)`` non-negative values, divided by the largest; zeros stay."""
    return values / values.max().clamp_min(torch.finfo(values.dtype).tiny)
