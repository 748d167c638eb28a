"""What EWC, SI, MAS, RWalk and online Laplace share: every weight held by a spring of its own.

The loss of a task is joined by the penalty ``lam/2 * sum_i I_i (w_i - a_i)^2``, with an importance
``I >= 0`` and an anchor ``a`` that were laid down by earlier tasks. How ``I`` is found is the method;
how the penalty is followed is here, the same for all, so that methods differ in nothing else.

``penalty_step=proximal``, the default, deviates from all the papers: after each optimizer step the
weights move to the minimum of penalty plus distance, ``w += r/(1+r) (a - w)`` with
``r = lr/(1-momentum) lam I``. The explicit step of the papers (penalty in the gradient, before
clipping) is stable only while ``lr lam max(I) < 2``; where importances add up over a long stream they
grow past that, and accuracy is lost without a NaN to tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from clbench import fisher
from clbench.errors import UsageError
from clbench.strategy import Batch, GradientStrategy, StreamInfo
from clbench.stream import TaskData


class QuadraticStrategy(GradientStrategy):
    """Descends the loss with weights held to ``anchor``; ``consolidate`` sets the importances."""

    results_version: ClassVar[int] = 1
    """Raised by a change of this base that alters what its strategies give."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of the penalty."""

        lam: float = 1.0
        """Strength of the penalty, which is lam/2 * sum of importance * (weight - anchor)^2."""
        penalty_step: Literal["proximal", "explicit"] = "proximal"
        """proximal: implicit, stable for every strength, SGD only; explicit: in the gradient."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (math.isfinite(self.lam) and self.lam >= 0):
                raise UsageError(f"strategy.lam={self.lam} must be finite and >= 0")
            if self.penalty_step == "proximal" and self.optimizer.lower() != "sgd":
                raise UsageError(
                    f"strategy.penalty_step=proximal is exact for SGD only; with "
                    f"strategy.optimizer={self.optimizer} set strategy.penalty_step=explicit"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("importance", torch.zeros_like(self.weights))
        self.register_buffer("anchor", self.weights.clone())
        self.importance: Tensor
        self.anchor: Tensor
        self._pull = torch.zeros_like(self.weights), math.nan

    @property
    def strength(self) -> float:
        """Times the importances it is the curvature of the penalty."""
        return float(self.config.lam)

    def begin(self, task: TaskData) -> TaskData:
        """Forget the pull of the last experience: the importances have changed since."""
        self._pull = self._pull[0], math.nan
        return task

    def step(self, batch: Batch) -> None:
        """One update, with the penalty in the gradient or applied to the result."""
        self.descend_held(self.gradient(batch))

    def descend_held(self, gradient: Tensor) -> None:
        """Follow a ``(P,)`` gradient of the loss and the pull of the penalty."""
        if self.config.penalty_step == "explicit":
            gradient.add_(self.importance * (self.weights - self.anchor), alpha=self.strength)
            self.descend(gradient)
        else:
            self.descend(gradient)
            self.weights.lerp_(self.anchor, self._pull_at(self.lr))

    def descend_traced(self, gradient: Tensor) -> Tensor:
        """The same; returns ``(P,)``: the fall of the loss that each weight's move accounts for.

        To first order, ``-g_i * (move of w_i)``, with the gradient of the loss alone, not clipped,
        and the move that was made, whatever clipping, momentum and penalty made of it.
        """
        slope, before = gradient.clone(), self.weights.clone()
        self.descend_held(gradient)
        return slope.mul_(before.sub_(self.weights))

    def _pull_at(self, lr: float) -> Tensor:
        """``(P,)``: the share of the way to the anchor; the same until rate or importance change."""
        pull, of = self._pull
        if lr != of:
            rate = lr / (1 - self.config.momentum) * self.strength * self.importance
            pull = rate / (1 + rate)
            self._pull = pull, lr
        return pull

    def diagnostics(self) -> dict[str, Tensor]:
        """``stiffness`` = lr lam max(I): from 1 the explicit step overshoots, from 2 it diverges."""
        rate = self.lr / (1 - self.config.momentum) * self.strength
        return {**super().diagnostics(), "stiffness": rate * self.importance.max()}

    def warning(self, diagnostics: Mapping[str, float]) -> str | None:
        """From 1 on, an explicit step overshoots the anchor it is pulled to."""
        if self.config.penalty_step == "proximal" or diagnostics["stiffness"] < 1:
            return None
        return (
            f"{type(self).__name__}: lr * lam * max(importance) has passed 1, and from 2 the explicit "
            "penalty diverges: lower strategy.lam, or set strategy.penalty_step=proximal"
        )


def refuse_single_mask(config: GradientStrategy.Config) -> None:
    """Refuse a mask under which the scores depend on the label: importances are taken without one.

    Raises:
        UsageError: ``mask=single``.
    """
    if config.mask == "single":
        raise UsageError(
            "strategy.mask=single: its scores depend on the label, so no importance can be estimated "
            "from them; set strategy.mask=group"
        )


def task_logits(strategy: GradientStrategy, task: TaskData) -> Callable[[Tensor], Tensor]:
    """The scores that the loss of a task sees: masked to its classes where the task is told."""
    task_id = None if task.task_id is None else task.task_id[:1]

    def logits(x: Tensor) -> Tensor:
        ids = None if task_id is None else task_id.expand(len(x))
        return strategy.scores(Batch(x, task.y[:0], ids))

    return logits


def task_fisher(
    strategy: GradientStrategy, task: TaskData, estimator: fisher.Estimator, samples: int
) -> Tensor:
    """``(P,)``: the Fisher diagonal, a mean over a task's first samples (their order is random)."""
    found = fisher.estimate(
        strategy.model,
        task.x[:samples],
        task.y[:samples],
        estimator,
        logits=task_logits(strategy, task),
        batch_size=strategy.config.batch_size,
    )
    return torch.cat([f.reshape(-1) for f in found.values()])
