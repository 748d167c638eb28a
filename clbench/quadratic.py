"""The base of EWC, SI, MAS, RWalk and online Laplace: a quadratic penalty on each weight's move.

The penalty ``lam/2 * sum_i I_i (w_i - a_i)^2`` is added to the loss of a task. Earlier tasks set the
importances ``I >= 0`` and the anchor ``a``. A method is how it finds ``I``. How the penalty is
minimised is implemented here, once for all of them, so that they differ in nothing else.

``penalty_step=proximal``, the default with SGD, deviates from all the papers. After each step the
weights move to the minimum of penalty plus distance, ``w += r/(1+r) (a - w)`` with
``r = lr/(1-momentum) lam I``. The papers' explicit step (the penalty's gradient is added before
clipping) is stable only while ``lr lam max(I) < 2``. Importances that add up over a long stream pass
this bound, and accuracy is then lost without any NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from clbench import fisher
from clbench.errors import UsageError
from clbench.settings import AtLeast
from clbench.space import Log
from clbench.strategy import Batch, GradientStrategy, StreamInfo
from clbench.stream import TaskData


class QuadraticStrategy(GradientStrategy):
    """Trains with a penalty that holds weights to ``anchor``; ``consolidate`` sets importances."""

    results_version: ClassVar[int] = 1
    """Raised by a change of this base that alters what its strategies give."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of the penalty."""

        lam: Annotated[float, AtLeast(0)] = field(default=1.0, metadata={"space": Log(0.01, 1e4)})
        """Strength of the penalty, which is lam/2 * sum of importance * (weight - anchor)^2."""
        penalty_step: Literal["auto", "proximal", "explicit"] = "auto"
        """How the penalty is minimised. proximal: by an implicit step, stable for every strength, SGD
        only; explicit: through the gradient; auto: proximal with SGD, explicit with all others."""

        def __post_init__(self) -> None:
            super().__post_init__()
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

    def resolved(self) -> dict[str, object]:
        """Add how the penalty is minimised."""
        step = "proximal" if self.is_proximal else "explicit"
        return {**super().resolved(), "penalty_step": step}

    @property
    def is_proximal(self) -> bool:
        """Whether the penalty has a step of its own."""
        step, optimizer = self.config.penalty_step, self.config.optimizer.lower()
        return bool(step == "proximal" or (step == "auto" and optimizer == "sgd"))

    @property
    def strength(self) -> float:
        """The factor that turns importances into the curvature of the penalty."""
        return float(self.config.lam)

    def begin(self, task: TaskData) -> TaskData:
        """Drop the cached pull: the importances have changed since the last experience."""
        self._pull = self._pull[0], math.nan
        return task

    def step(self, batch: Batch) -> None:
        """Update the weights once, with the penalty in the gradient or in a step of its own."""
        self.descend_held(self.gradient(batch))

    def descend_held(self, gradient: Tensor) -> None:
        """Take a step along a ``(P,)`` gradient of the loss, and apply the penalty."""
        if self.is_proximal:
            self.descend(gradient)
            self.weights.lerp_(self.anchor, self._pull_at(self.lr))
        else:
            gradient.add_(self.importance * (self.weights - self.anchor), alpha=self.strength)
            self.descend(gradient)

    def descend_traced(self, gradient: Tensor) -> Tensor:
        """Do as ``descend_held``; return how much each weight's move lowered the loss, ``(P,)``.

        This is ``-g_i * (move of w_i)``, to first order; it is negative where the loss rose. ``g`` is
        the gradient that is passed in: of the loss alone, not clipped. Its tensor may be overwritten.
        The move is the one that was made, with clipping, momentum and penalty.
        """
        slope, before = gradient.clone(), self.weights.clone()
        self.descend_held(gradient)
        return slope.mul_(before.sub_(self.weights))

    def _pull_at(self, lr: float) -> Tensor:
        """Compute the share of the way to the anchor, ``(P,)``, once for each learning rate."""
        pull, of = self._pull
        if lr != of:
            rate = lr / (1 - self.config.momentum) * self.strength * self.importance
            pull = rate / (1 + rate)
            self._pull = pull, lr
        return pull

    def diagnostics(self) -> dict[str, Tensor]:
        """Add ``stiffness`` = lr lam max(I); the explicit step overshoots from 1, diverges from 2."""
        rate = self.lr / (1 - self.config.momentum) * self.strength
        return {**super().diagnostics(), "stiffness": rate * self.importance.max()}

    def warning(self, diagnostics: Mapping[str, float]) -> str | None:
        """Warn if explicit steps overshoot the anchor, which they do from a stiffness of 1."""
        if self.is_proximal or diagnostics["stiffness"] < 1:
            return None
        return (
            f"{type(self).__name__}: lr * lam * max(importance) has passed 1, and from 2 the explicit "
            "penalty diverges: lower strategy.lam, or use SGD with strategy.penalty_step=proximal"
        )


def refuse_single_mask(config: GradientStrategy.Config) -> None:
    """Refuse a mask whose scores depend on the label, since importances are estimated without labels.

    Raises:
        UsageError: ``mask=single``.
    """
    if config.mask == "single":
        raise UsageError(
            "strategy.mask=single: its scores depend on the label, so no importance can be estimated "
            "from them; set strategy.mask=group"
        )


def task_logits(strategy: GradientStrategy, task: TaskData) -> Callable[[Tensor], Tensor]:
    """Return a function from samples ``(B, *input_shape)`` to the logits of a task's loss.

    The logits are ``(B, n_classes)``. If the stream gives task ids, classes of other tasks get minus
    infinity; ``strategy.mask`` applies with the classes of the experience. Labels are not used.
    """
    task_id = None if task.task_id is None else task.task_id[:1]

    def logits(x: Tensor) -> Tensor:
        ids = None if task_id is None else task_id.expand(len(x))
        return strategy.scores(Batch(x, task.y[:0], ids))

    return logits


def task_fisher(
    strategy: GradientStrategy, task: TaskData, estimator: fisher.Estimator, samples: int
) -> Tensor:
    """Estimate the Fisher diagonal, ``(P,)``, on a task's first samples (their order is random).

    An estimator that asks for the data's labels takes the first labelled ones; without any it gives 0.
    """
    if strategy.info.unlabelled and estimator in ("empirical", "batched"):
        task = task.part((task.y >= 0).nonzero().squeeze(1))
        if len(task) == 0:
            return torch.zeros_like(strategy.weights)
    first = task.first(samples)
    found = fisher.estimate(
        strategy.model,
        first.x,
        first.y,
        estimator,
        logits=task_logits(strategy, task),
        batch_size=strategy.config.batch_size,
    )
    return torch.cat([f.reshape(-1) for f in found.values()])
