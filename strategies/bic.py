"""BiC: two numbers, fitted on a balanced validation set, correct the newest classes' scores.

Wu et al. 2019, "Large Scale Incremental Learning" (CVPR, arXiv 1905.13260). Before an experience a
tenth of the exemplars of each old class is set aside, and as many samples of each new class.

Stage 1 trains on the rest, with lambda the share of old among all classes seen (eq. 1-3):

    L = (1 - lambda) CE(f(x), y | classes seen) + lambda * KD(old classes, T = 2).

Stage 2 freezes the network and fits by cross-entropy on what was set aside the pair (a, b) of
``f_c <- a f_c + b`` for the new classes c alone (eq. 4 and 5). One pair for each experience with new
classes is kept; each class holds the pair it came with. All scores, the teacher's too, are corrected.

Deviations: those of ``clbench.exemplars``; stage 2 computes the scores once, without augmentation,
since nothing but the pair is trained; it takes the passes, the learning rate, its schedule, momentum
(not Nesterov's) and weight decay of stage 1, with a plain SGD whatever the optimizer, and labels that
are not smoothed; a class of one exemplar gives none away. KD has no factor T^2. In an experience
without new classes lambda would be 1, and no label would be learnt from, so it counts as one with one
new class; this is our choice. What is set aside is not trained on, but may become an exemplar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from clbench import Batch, StreamInfo, TaskData
from clbench.exemplars import ExemplarStrategy
from clbench.memory.policies import rank_within
from clbench.nets.features import BATCH
from clbench.nets.losses import cross_entropy
from clbench.nets.modes import evaluating
from clbench.nets.optim import SGD
from clbench.settings import Positive, Within
from clbench.space import Choices


class BiC(ExemplarStrategy):
    """Corrects the bias to new classes by a linear function of their scores."""

    @dataclass(frozen=True)
    class Config(ExemplarStrategy.Config):
        """Settings of bias correction."""

        readout: Literal["nme", "softmax"] = "softmax"
        """What predicts: softmax, the corrected scores (the paper); nme, the nearest mean of
        exemplars, which no correction touches."""
        temperature: Annotated[float, Positive] = field(
            default=2.0, metadata={"space": Choices(1.0, 2.0, 4.0)}
        )
        """Scores are divided by it before the softmax of the distillation."""
        split: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = 0.1
        """Share of the exemplars that is set aside to fit the correction on, with as many samples of
        each new class; at least one of a class."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("slope", torch.ones(info.n_classes))
        self.register_buffer("offset", torch.zeros(info.n_classes))
        self.slope: Tensor
        """``(n_classes,)``: the paper's alpha of the experience that each class came in."""
        self.offset: Tensor
        self.aside: TaskData | None = None
        """The balanced validation set of this experience."""

    def begin(self, task: TaskData) -> TaskData:
        """Set samples aside; return the others and the other exemplars, shuffled."""
        self.meet(task)
        stored = self.exemplars()
        self.aside = None
        if not self.n_old or not self.n_new or not len(stored):
            return self.union(task, stored)
        each = max(1, int(self.config.split * (len(stored) // self.n_old)))
        stored, old = set_aside(stored, each)
        task, new = set_aside(task, each)
        self.aside = new.joined(old)
        return self.union(
            task, stored.part(torch.isin(stored.key, new.key, invert=True).nonzero()[:, 0])
        )

    def correct(self, raw: Tensor) -> Tensor:
        """Correct scores ``(B, n_classes)`` by the pairs of all classes."""
        return raw * self.slope + self.offset

    def loss(self, batch: Batch) -> Tensor:
        """Compute cross-entropy and distillation of corrected scores, 0-d."""
        raw = self.correct(self.model(batch.x))
        loss = self.fit(raw, batch)
        if not self.n_old:
            return loss
        share = self.n_old / (self.n_old + max(1, self.n_new))
        return (1 - share) * loss + share * self.distil(raw, batch, self.config.temperature)

    def taught(self, x: Tensor) -> Tensor:
        """Compute the teacher's corrected scores."""
        return self.correct(super().taught(x))

    def read(self, x: Tensor) -> Tensor:
        """Compute corrected scores."""
        return self.correct(super().read(x))

    def finish(self, task: TaskData) -> None:
        """Fit the pair of the new classes on what was set aside."""
        if self.aside is None or not len(self.aside):
            return
        aside, self.aside = self.aside, None
        with torch.no_grad(), evaluating(self.model):
            raw = torch.cat([self.correct(self.model(x)) for x in aside.samples(BATCH)])
        new, config = self.seen & ~self.old, self.config
        pair = nn.Parameter(raw.new_tensor([1.0, 0.0]))
        optimizer = SGD([pair], config.base_lr, config.momentum, config.weight_decay)
        n_steps, step = config.epochs * -(-len(aside) // config.batch_size), 0
        for _ in range(config.epochs):
            order = torch.randperm(len(aside), device="cpu").to(raw.device)
            for at in order.split(config.batch_size):
                optimizer.param_groups[0]["lr"] = config.lr_at(step, n_steps) or config.base_lr
                task_id = None if aside.task_id is None else aside.task_id[at]
                scores = torch.where(new, raw[at] * pair[0] + pair[1], raw[at])
                scores = self.masked(scores, Batch(raw[at], aside.y[at], task_id))
                [pair.grad] = torch.autograd.grad(cross_entropy(scores, aside.y[at]), pair)
                with torch.no_grad():
                    optimizer.step()
                step += 1
        self.slope.copy_(torch.where(new, pair[0].detach(), self.slope))
        self.offset.copy_(torch.where(new, pair[1].detach(), self.offset))


def set_aside(task: TaskData, each: int) -> tuple[TaskData, TaskData]:
    """Part off ``each`` samples of every class, those of the smallest keys; a class keeps one.

    Keys are as good as random. Samples without a label stay.
    """
    rank = rank_within(task.y, task.key.argsort())
    size = torch.bincount(task.y.clamp_min(0), task.y >= 0).long()[task.y.clamp_min(0)]
    taken = (task.y >= 0) & (rank < (size - 1).clamp_max(each))
    return task.part((~taken).nonzero()[:, 0]), task.part(taken.nonzero()[:, 0])
