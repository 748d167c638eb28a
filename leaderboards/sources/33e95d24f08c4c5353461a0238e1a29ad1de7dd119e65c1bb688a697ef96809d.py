"""Learning without Forgetting: keeps the old classes' predictions on new samples.

Li & Hoiem 2016 (ECCV, arXiv 1606.09282). Before a task the network is copied. The copy is the teacher:
it predicts each new sample, and the loss is (eq. 3 and 2)

    cross-entropy + alpha * sum over old heads of -sum_c q_c log p_c

where q and p are the teacher's and the learner's probabilities within the head, at temperature T (the
paper: T = 2, alpha = 1; no factor T^2). The second term is KL(q || p) up to a term without gradient.

A head is the set of classes of one softmax of the distillation. If task ids are given, each earlier
task has a head. Else the single head has the classes of earlier experiences; once all classes have
come, it also has those of the new task. Before the second experience the second term and its gradient
are 0. An experience counts as a task: with hidden boundaries the teacher is the network at the start
of the chunk.

Deviations: the learner's new head is not warmed up alone first. The teacher, in eval mode, predicts at
each step instead of once, which costs one more forward pass and is the same without augmentation. The
cross-entropy is over all classes of a single head, as in every strategy here.

The defaults are the paper's. They did best on task-incremental streams. On single heads whose classes
come once, LwF needs more than this, as the literature reports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData
from clbench.settings import AtLeast, Positive
from clbench.space import Choices, Log


class LwF(GradientStrategy):
    """Distils the network from before the experience into the one that is trained on it."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of Learning without Forgetting."""

        alpha: Annotated[float, AtLeast(0)] = field(default=1.0, metadata={"space": Log(0.1, 10)})
        """Weight of the distillation of each old head."""
        temperature: Annotated[float, Positive] = field(
            default=2.0, metadata={"space": Choices(1.0, 2.0, 4.0)}
        )
        """Scores are divided by it before the softmax of the distillation."""

        def misleading(self) -> dict[str, str]:
            """What has to be the network of before."""
            return super().misleading() | {
                "reset_weights": "would make its teacher a fresh network"
            }

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
        """Copy the network into the teacher, with the statistics of its norm layers."""
        self.teacher.eval()
        now = self.model.state_dict()
        for name, value in self.teacher.state_dict().items():
            value.copy_(now[name])
        return task

    def loss(self, batch: Batch) -> Tensor:
        """Compute cross-entropy and distillation, 0-d; unlabelled samples count in the latter only."""
        raw: Tensor = self.model(batch.x)
        with torch.no_grad():
            taught: Tensor = self.teacher(batch.x)
        scores = self.masked(raw, batch)
        t = self.config.temperature
        old = distillation(raw / t, taught / t, self.old_heads)
        return F.cross_entropy(scores, batch.y, ignore_index=-1).add(old, alpha=self.config.alpha)

    def consolidate(self, task: TaskData) -> None:
        """Add the classes of this experience to the old ones."""
        if task.task_id is not None:
            self.old_heads.copy_(self.classes_of_task)
        else:
            met = self.old_heads.new_zeros(self.info.n_classes + 1)
            met[task.y] = True  # unlabelled samples are -1, the last place
            self.old_heads[0] |= met[:-1]


def distillation(scores: Tensor, taught: Tensor, heads: Tensor) -> Tensor:
    """Compute the learner's cross-entropy to the teacher, summed over heads, mean over samples, 0-d.

    For a head it is ``-sum_c q_c log p_c = log sum_c exp(z_c) - sum_c q_c z_c``. All heads are computed
    at once, without a tensor ``(B, H, C)``.

    Args:
        scores: ``(B, C)`` of the learner, divided by the temperature.
        taught: ``(B, C)`` of the teacher.
        heads: ``(H, C)`` bool, the classes of each head; a head without classes adds nothing.
    """
    member = heads.to(scores.dtype)
    least = torch.finfo(scores.dtype).tiny
    # Shifted by the largest score: a head underflows only if all its scores are some 87 below it.
    z = scores - scores.detach().amax(1, keepdim=True)
    q = (taught - taught.amax(1, keepdim=True)).exp()
    q = q * ((1 / (q @ member.T).clamp_min(least)) @ member)
    sums = (z.exp() @ member.T).clamp_min(least).log()
    return ((sums * heads.any(1)).sum(1) - (q * z).sum(1)).mean()
