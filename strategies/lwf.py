"""Learning without Forgetting: on new samples, the network shall answer about old classes as before.

Li & Hoiem 2016 (ECCV, arXiv 1606.09282). Before a task the network is copied; the copy, the teacher,
is asked about each new sample, and the loss is (eq. 3 and 2)

    cross-entropy + alpha * sum over old heads of -sum_c q_c log p_c

where q and p are the teacher's and the learner's probabilities within the head, at temperature T (the
paper: T = 2, alpha = 1; no factor T^2). It is KL(q || p) up to a term without gradient.

A head is what the softmax of the distillation runs over. Where tasks are told, there is one for each
earlier task; a single head has the classes seen in earlier experiences, wherever they recur (where
all have been seen, it holds the new task's classes too). Before anything is old the second term is 0
and its gradient too. An experience is taken for a task: with hidden boundaries the teacher is the
network at the start of the chunk.

Deviations: the learner's new head is not warmed up by itself first; the teacher, in eval mode, is
asked at each step instead of once (the same where nothing is augmented), one more forward pass;
cross-entropy runs over all classes of a single head, as in every strategy here.

The defaults are the paper's. They did best on task-incremental streams; on single heads whose
classes come once LwF needs more than this, as the literature has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData, UsageError


class LwF(GradientStrategy):
    """Distils the network as it was before the experience into the one that learns it."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of Learning without Forgetting."""

        alpha: float = 1.0
        """Weight of the distillation of each old head."""
        temperature: float = 2.0
        """Scores are divided by it before the softmax of the distillation."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (math.isfinite(self.alpha) and self.alpha >= 0):
                raise UsageError(f"strategy.alpha={self.alpha} must be finite and >= 0")
            if not (math.isfinite(self.temperature) and self.temperature > 0):
                raise UsageError(f"strategy.temperature={self.temperature} must be positive")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.teacher = build_model().requires_grad_(False)
        n_heads = 1 if info.n_tasks is None or not info.task_ids else info.n_tasks
        old = torch.zeros(n_heads, info.n_classes, dtype=torch.bool)
        self.register_buffer("old_heads", old)
        self.old_heads: Tensor

    @torch.no_grad()
    def begin(self, task: TaskData) -> TaskData:
        """Copy the network, statistics of its norm layers included."""
        self.teacher.eval()
        now = self.model.state_dict()
        for name, value in self.teacher.state_dict().items():
            value.copy_(now[name])
        return task

    def loss(self, batch: Batch) -> Tensor:
        """0-d: mean cross-entropy and distillation; unlabelled samples take part in the second."""
        raw: Tensor = self.model(batch.x)
        with torch.no_grad():
            taught: Tensor = self.teacher(batch.x)
        scores = self.masked(raw, batch)
        t = self.config.temperature
        old = distillation(raw / t, taught / t, self.old_heads)
        return F.cross_entropy(scores, batch.y, ignore_index=-1).add(old, alpha=self.config.alpha)

    def consolidate(self, task: TaskData) -> None:
        """From now on the classes of this experience are old."""
        if task.task_id is not None:
            self.old_heads.copy_(self.classes_of_task)
        else:
            met = self.old_heads.new_zeros(self.info.n_classes + 1)
            met[task.y] = True  # unlabelled ones are -1 and land in the last place
            self.old_heads[0] |= met[:-1]


def distillation(scores: Tensor, taught: Tensor, heads: Tensor) -> Tensor:
    """0-d: mean over samples of the cross-entropies of the learner to the teacher, summed over heads.

    Per head ``-sum_c q_c log p_c = log sum_c exp(z_c) - sum_c q_c z_c``; all heads at once, and never
    ``(B, H, C)`` numbers.

    Args:
        scores: ``(B, C)`` of the learner, divided by the temperature.
        taught: ``(B, C)`` of the teacher.
        heads: ``(H, C)`` bool: the classes of each head; a head without any counts as none.
    """
    member = heads.to(scores.dtype)
    least = torch.finfo(scores.dtype).tiny
    # Shifted by the largest of all: a head is lost only if all its scores are some 87 below.
    z = scores - scores.detach().amax(1, keepdim=True)
    q = (taught - taught.amax(1, keepdim=True)).exp()
    q = q * ((1 / (q @ member.T).clamp_min(least)) @ member)
    sums = (z.exp() @ member.T).clamp_min(least).log()
    return ((sums * heads.any(1)).sum(1) - (q * z).sum(1)).mean()
