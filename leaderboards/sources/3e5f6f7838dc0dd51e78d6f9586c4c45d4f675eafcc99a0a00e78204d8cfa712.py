"""Synaptic Intelligence: holds each weight by how much its moves lowered the losses of earlier tasks.

Zenke, Poole & Ganguli 2017 (ICML, arXiv 1703.04200). While a task is learnt, the path integral
``p_i = -sum over steps of g_i * (move of w_i)`` (eq. 3) measures how much weight i lowers the loss;
``sum_i p_i`` is the whole fall of the loss. After the task (eq. 5), with D_i the move of w_i over it,

    I_i <- gamma I_i + max(p_i, 0) / (D_i^2 + xi)

and ``lam/2 sum_i I_i (w_i - a_i)^2`` holds the weights to the newest ones (eq. 4).

Conventions: g is the gradient of the loss alone, without the penalty and before clipping (as in the
paper; Avalanche takes the total). The move is the one that was made, with momentum, clipping and
penalty. A negative p_i counts as 0, as in the authors' code [unverified]. An experience counts as a
task, so hidden boundaries do not matter.

Deviations: the factor 1/2 (the paper's c is lam/2), the proximal step (``clbench.quadratic``), and
``gamma`` below 1 (the paper has 1).

Defaults were chosen on the validation parts of digits and mnist5k (SCoLe of 300 tasks, task- and
class-incremental; seeds from 100 on) as a compromise. Few tasks that come once and are trained long
gain from lam = 10 and more; long recurring streams lose accuracy from there on. A smaller xi acts like
a larger lam.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import Batch, QuadraticStrategy, StreamInfo, TaskData
from clbench.settings import Positive, Within


class SI(QuadraticStrategy):
    """Weights the quadratic penalty by path integrals."""

    @dataclass(frozen=True)
    class Config(QuadraticStrategy.Config):
        """Settings of Synaptic Intelligence."""

        xi: Annotated[float, Positive] = 0.1
        """Damping: a weight that hardly moved has at most the importance path integral / xi."""
        gamma: Annotated[float, Within(0, 1)] = 1.0
        """Decay of the importances per task."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        # It is used within one experience alone, so it is not remembered.
        self.register_buffer("path", torch.zeros_like(self.weights), persistent=False)
        self.path: Tensor

    def begin(self, task: TaskData) -> TaskData:
        """Start a new path at the anchor, where the last task ended."""
        self.path.zero_()
        return super().begin(task)

    def step(self, batch: Batch) -> None:
        """Update the weights once, and add each move's fall of the loss to the path."""
        self.path.add_(self.descend_traced(self.gradient(batch)))

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Add the importances of the task and move the anchor."""
        distance = self.weights - self.anchor
        new = self.path.clamp_min(0) / (distance.square_() + self.config.xi)
        self.importance.mul_(self.config.gamma).add_(new)
        self.anchor.copy_(self.weights)
