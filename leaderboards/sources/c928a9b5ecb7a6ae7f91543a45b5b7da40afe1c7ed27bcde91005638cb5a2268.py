"""Riemannian Walk: holds weights by a running Fisher and by how much their moves lowered the loss.

Chaudhry et al. 2018 (ECCV, arXiv 1801.10112). At every step, from the gradient g of the batch,

    F <- alpha g^2 + (1 - alpha) F                                      (EWC++, eq. 6)

and over every window of ``window`` steps, with D_i the move of w_i in it (eq. 7),

    s_i += (-sum of g_i * move of w_i) / (F_i D_i^2 / 2 + epsilon)

After the task, negative scores count as 0, and the score is averaged half and half with that of
earlier tasks. F and s are each divided by their largest value, so every importance is in [0, 2],
however long the stream. Then ``lam/2 sum_i (F_i + s_i) (w_i - a_i)^2`` holds the weights to the newest
ones (eq. 8).

Conventions: g is the gradient of the loss alone, before clipping. F is the square of a batch's mean
gradient (``batched`` in ``clbench.fisher``), not a mean over samples, as in public code bases: it
costs nothing, and the division by the largest value removes its scale. The division by the largest
value and the size of epsilon are Avalanche's reading of "normalised to [0, 1]" [the paper's own:
unverified]. The last, shorter window of a task counts. An experience counts as a task.

Deviations: the factor 1/2 (the paper's lambda is lam/2), the proximal step (``clbench.quadratic``),
and no replay (the paper adds stored samples in class-incremental settings).

Defaults were chosen on the validation parts of digits and mnist5k (SCoLe of 300 tasks, task- and
class-incremental; seeds from 100 on) as a compromise: lam = 10 (on SCoLe 1 is as good, and 100 is
worse).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import Batch, QuadraticStrategy, StreamInfo, TaskData
from clbench.settings import AtLeast, Positive, Within
from clbench.space import Log


class RWalk(QuadraticStrategy):
    """Weights the quadratic penalty by a running Fisher and a score of the path."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of Riemannian Walk."""

        lam: Annotated[float, AtLeast(0)] = field(default=10.0, metadata={"space": Log(0.1, 1e4)})
        """Strength of the penalty, which is lam/2 * sum of importance * (weight - anchor)^2."""
        alpha: Annotated[float, Within(0, 1, open_low=True)] = 0.9
        """Weight of the newest batch in the running Fisher."""
        window: Annotated[int, AtLeast(1)] = 10
        """Steps over which the score of a path is computed (the paper's delta t)."""
        epsilon: Annotated[float, Positive] = 1e-7
        """Damping of the score where the Fisher or the move is nearly 0."""
        score: bool = True
        """Whether the score counts; without it the method is EWC++."""

        def without_effect(self) -> dict[str, str]:
            """What is of the score alone."""
            idle = () if self.score else ("window", "epsilon")
            return super().without_effect() | dict.fromkeys(idle, "score=false")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        for name, lasting in (
            ("fisher", True),
            ("score", True),
            # These are used within one experience alone, so they are not remembered.
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
        """Update the weights once, then the Fisher and the fall along the path."""
        gradient = self.gradient(batch)
        self.fisher.lerp_(gradient.square(), self.config.alpha)
        self.fall.add_(self.descend_traced(gradient))
        self._steps += 1
        if self._steps % self.config.window == 0:
            self._close_window()

    def _close_window(self) -> None:
        """Add the score of the steps since the last window; without a step it adds nothing."""
        distance = self.weights - self.window_start
        length = self.fisher * distance.square_() / 2 + self.config.epsilon
        self.task_score.addcdiv_(self.fall, length)
        self.fall.zero_()
        self.window_start.copy_(self.weights)

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Set the importances from the current Fisher and score; move the anchor."""
        self._close_window()
        share = torch.where(self.score.any(), 0.5, 1.0)  # the first score stands alone
        self.score.lerp_(self.task_score.clamp_min(0), share.to(self.score))
        self.importance.copy_(_up_to_one(self.fisher))
        if self.config.score:
            self.importance.add_(_up_to_one(self.score))
        self.anchor.copy_(self.weights)


def _up_to_one(values: Tensor) -> Tensor:
    """Divide non-negative values ``(P,)`` by the largest; zeros stay zero."""
    return values / values.max().clamp_min(torch.finfo(values.dtype).tiny)
