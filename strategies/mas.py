"""Memory Aware Synapses: weights are held as firmly as the network's answers depend on them.

Aljundi et al. 2018 (ECCV, arXiv 1711.09601). After a task, from its samples and without their labels,

    I_i <- gamma I_i + mean over x of |d ||f(x)||^2 / d w_i|

with f the scores before the softmax (the paper's eq. 2, with the squared l2 norm of its section 4.1);
then ``lam/2 sum_i I_i (w_i - a_i)^2`` holds the weights to the newest ones (eq. 3).

``estimator=per_sample`` is the equation; ``batched`` takes the absolute value of the gradient of a
batch's mean, as public code bases do, in which gradients of opposite sign cancel: smaller, and not
comparable. Where tasks are told, f is masked to the task's classes, as the loss is. An experience is
taken for a task, so hidden boundaries do not matter.

Deviations: the factor 1/2 (the paper's lambda is lam/2), the proximal step (``clbench.quadratic``), a
sample of the task instead of all of it, and ``gamma``: 1 adds up; below 1 it is, up to the constant
``1 - gamma``, the moving average of FACIL and Avalanche with alpha = gamma.

Defaults were chosen on the validation parts of digits and mnist5k (SCoLe of 300 tasks, task- and
class-incremental; seeds from 100 on) as a compromise: few tasks that come once gain from lam = 0.1
to 1; long recurring streams, on which the importances keep adding up, lose from there on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from clbench import QuadraticStrategy, TaskData, UsageError
from clbench.fisher.estimators import INPUTS_AT_ONCE
from clbench.fisher.layers import Seeds, summed_gradients
from clbench.quadratic import refuse_single_mask, task_logits


class MAS(QuadraticStrategy):
    """Quadratic penalties weighted by the sensitivity of the scores."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of Memory Aware Synapses."""

        lam: float = 0.01
        """Strength of the penalty, which is lam/2 * sum of importance * (weight - anchor)^2."""
        gamma: float = 1.0
        """Decay of the importances per task; 1 adds them up."""
        estimator: Literal["per_sample", "batched"] = "per_sample"
        """Absolute values of each sample's gradient, or of the mean over a batch."""
        samples: int = 256
        """Training samples of each task that the importances are estimated on."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.gamma <= 1:
                raise UsageError(f"strategy.gamma={self.gamma} must be in [0, 1]")
            if self.samples < 1:
                raise UsageError(f"strategy.samples={self.samples} must be >= 1")
            refuse_single_mask(self)

    def consolidate(self, task: TaskData) -> None:
        """Add the importances of the task and move the anchor."""
        estimate = self._per_sample if self.config.estimator == "per_sample" else self._batched
        self.model.eval()
        new = estimate(task.x[: self.config.samples], task_logits(self, task))
        self.model.train()
        self.importance.mul_(self.config.gamma).add_(new)
        self.anchor.copy_(self.weights)

    def _per_sample(self, x: Tensor, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """``(P,)``: mean over samples of the absolute gradient of ||f(x)||^2."""
        params = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        total = torch.zeros_like(self.weights)
        for part in x.split(max(1, INPUTS_AT_ONCE // x[0].numel())):
            found = summed_gradients(self.model, params, logits, part, _of_norm, torch.abs)
            parts = [found.get(name, torch.zeros_like(p)) for name, p in params.items()]
            total += torch.cat([part.detach().reshape(-1) for part in parts])
        return total / len(x)

    def _batched(self, x: Tensor, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """``(P,)``: mean over batches of the absolute gradient of the batch's mean ||f(x)||^2."""
        total = torch.zeros_like(self.weights)
        batches = x.split(self.config.batch_size)
        for part in batches:
            norms = _finite(logits(part)).square().sum(1)
            total += self._flat.gradient(norms.mean()).abs_()
        return total / len(batches)


def _finite(scores: Tensor) -> Tensor:
    """Scores with 0 for the classes that are masked out."""
    return scores.masked_fill(scores == -torch.inf, 0.0)


def _of_norm(scores: Tensor) -> Seeds:
    """The gradient of ||f||^2 by f, of scores ``(b, C)``."""
    return Seeds(1, lambda _: 2 * _finite(scores))
