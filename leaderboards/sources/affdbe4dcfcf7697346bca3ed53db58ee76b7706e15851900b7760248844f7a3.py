"""Memory Aware Synapses: holds each weight by the sensitivity of the network's outputs to it.

Aljundi et al. 2018 (ECCV, arXiv 1711.09601). After a task, its samples without their labels give

    I_i <- gamma I_i + mean over x of |d ||f(x)||^2 / d w_i|

with f the scores before the softmax (the paper's eq. 2, with the squared l2 norm of its section 4.1).
Then ``lam/2 sum_i I_i (w_i - a_i)^2`` holds the weights to the newest ones (eq. 3).

``estimator=per_sample`` is the equation. ``batched`` takes the absolute value of the gradient of a
batch's mean, as public code bases do. Gradients of opposite sign cancel in it, so it is smaller and
not comparable. If task ids are given, f is masked to the task's classes, as the loss is. An experience
counts as a task, so hidden boundaries do not matter.

Deviations: the factor 1/2 (the paper's lambda is lam/2); the proximal step (``clbench.quadratic``); a
sample of the task instead of all of it; and ``gamma``. With gamma = 1 importances add up. Below 1 they
are the moving average of FACIL and Avalanche with alpha = gamma, up to the constant ``1 - gamma``.

Defaults were chosen on the validation parts of digits and mnist5k (SCoLe of 300 tasks, task- and
class-incremental; seeds from 100 on) as a compromise. Few tasks that come once gain from lam = 0.1 to
1. Long recurring streams, on which the importances keep adding up, lose accuracy from there on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor

from clbench import QuadraticStrategy, TaskData
from clbench.fisher.estimators import INPUTS_AT_ONCE
from clbench.fisher.layers import Seeds, summed_gradients
from clbench.quadratic import refuse_single_mask, task_logits
from clbench.settings import AtLeast, Within
from clbench.space import Log


class MAS(QuadraticStrategy):
    """Weights the quadratic penalty by the sensitivity of the scores."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of Memory Aware Synapses."""

        lam: Annotated[float, AtLeast(0)] = field(default=0.01, metadata={"space": Log(1e-4, 10)})
        """Strength of the penalty, which is lam/2 * sum of importance * (weight - anchor)^2."""
        gamma: Annotated[float, Within(0, 1)] = 1.0
        """Decay of the importances per task; 1 adds them up."""
        estimator: Literal["per_sample", "batched"] = "per_sample"
        """What absolute values are taken of: each sample's gradient, or the mean over a batch."""
        samples: Annotated[int, AtLeast(1)] = 256
        """Training samples of each task that the importances are estimated on."""

        def __post_init__(self) -> None:
            super().__post_init__()
            refuse_single_mask(self)

    def consolidate(self, task: TaskData) -> None:
        """Add the importances of the task and move the anchor."""
        estimate = self._per_sample if self.config.estimator == "per_sample" else self._batched
        self.model.eval()
        new = estimate(task.first(self.config.samples).x, task_logits(self, task))
        self.model.train()
        self.importance.mul_(self.config.gamma).add_(new)
        self.anchor.copy_(self.weights)

    def _per_sample(self, x: Tensor, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """Average the absolute gradient of ||f(x)||^2 over samples, ``(P,)``."""
        params = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        total = torch.zeros_like(self.weights)
        for part in x.split(max(1, INPUTS_AT_ONCE // x[0].numel())):
            found = summed_gradients(self.model, params, logits, part, _of_norm, torch.abs)
            parts = [found.get(name, torch.zeros_like(p)) for name, p in params.items()]
            total += torch.cat([part.detach().reshape(-1) for part in parts])
        return total / len(x)

    def _batched(self, x: Tensor, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """Average the absolute gradient of a batch's mean ||f(x)||^2 over batches, ``(P,)``."""
        total = torch.zeros_like(self.weights)
        batches = x.split(self.config.batch_size)
        for part in batches:
            norms = _finite(logits(part)).square().sum(1)
            total += self.gradient_of(norms.mean()).abs_()
        return total / len(batches)


def _finite(scores: Tensor) -> Tensor:
    """Set the scores of classes that are masked out to 0."""
    return scores.masked_fill(scores == -torch.inf, 0.0)


def _of_norm(scores: Tensor) -> Seeds:
    """Return the gradient of ||f||^2 by f, for scores ``(b, C)``."""
    return Seeds(1, lambda _: 2 * _finite(scores))
