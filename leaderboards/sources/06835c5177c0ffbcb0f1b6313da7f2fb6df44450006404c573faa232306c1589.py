"""EASE: tuned weights of its own for each task, and class prototypes in the features of each.

Zhou et al. 2024, "Expandable Subspace Ensemble for Pre-Trained Model-Based Class-Incremental Learning"
(CVPR, arXiv 2403.12030). For each task fresh weights, those that ``model.tune`` says (the paper:
adapters of rank 64, ``model.tune=adapter model.tune_rank=64``), are trained by the cross-entropy over
the task's own classes, and then kept. The features of the network with the weights of task b are
sub-space b. A class has a prototype in each: its mean. The data of old classes are gone when a
sub-space b comes, so there the prototype of a class c of an older task o is put together from those of
the classes j of task b and later ones, again after every task:

    p_b(c) = sum over j of s_j p_b(j),    s = softmax over j of cos(p_o(c), p_o(j)).

The score of class c, of task o, is

    cos(z_o, p_o(c)) + alpha * mean over b != o of cos(z_b, p_b(c)).

The score, its mean and alpha = .1 were read in the authors' code (``forward_reweight``); the equation
of the prototypes follows LAMDA-PILOT with ``recalc_sim=true``, as the authors' settings have it, and
was not compared with the paper's text. Deviations: no sub-space of the network as it was pretrained is
added; any kind of tuning makes sub-spaces; where a task comes in chunks, prototypes are means over
chunks, each in the features that it left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import GradientStrategy, Needs, StreamInfo, TaskData, UsageError
from clbench.latents import ClassMeans, among_seen, batches
from clbench.nets.features import features_at
from clbench.nets.modes import switch
from clbench.nets.parameters import output_layer
from clbench.settings import AtLeast, Within
from clbench.space import Choices


class Ease(GradientStrategy):
    """Trains weights for each task, and classifies by prototypes in the features of all."""

    needs = Needs(boundaries=True, disjoint_classes=True, n_tasks=True)

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of EASE."""

        mask: Literal["none", "single", "group_zero", "group"] = "group"
        """What training does with the scores of classes outside mask_scope. none: nothing; group:
        leaves them out of the softmax (EASE); group_zero: sets them to 0; single: sets all scores to 0
        but that of the sample's own class."""
        mask_scope: Literal["batch", "task"] = "task"
        """Classes that a mask keeps: those of the batch, or also all others of the experience."""
        alpha: Annotated[float, Within(0, 1)] = field(
            default=0.1, metadata={"space": Choices(0.0, 0.1, 0.3, 1.0)}
        )
        """Weight of the mean over the sub-spaces of other tasks in the score of a class."""
        temperature: Annotated[float, AtLeast(0.001)] = 1.0
        """What cosines are divided by, before the softmax that puts old prototypes together."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.reset_weights:
                raise UsageError(
                    "ease starts every task with fresh weights; leave out reset_weights"
                )

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        layer = output_layer(self.model)
        if layer is None:
            raise UsageError(
                "ease has prototypes in the input of a linear output layer, and this model has none; "
                "use another model"
            )
        if len(self.model.state_dict()) > len([*self.model.parameters()]):
            raise UsageError(
                "ease keeps weights for each task, and this model has running statistics beside them; "
                "set model.tune=bias or head, or use another model"
            )
        assert info.n_tasks is not None
        self.register_buffer("kept", torch.zeros(info.n_tasks, len(self.weights)))
        self.kept: Tensor
        """``(n_tasks, P)``: the weights of each task."""
        self.means = nn.ModuleList(
            ClassMeans(info.n_classes, layer.in_features) for _ in range(info.n_tasks)
        )
        self.register_buffer("task_of", torch.full((info.n_classes,), -1, dtype=torch.int64))
        self.task_of: Tensor
        """``(n_classes,)`` int64: the number of the task of each class seen, from 0."""
        self.register_buffer("begun", torch.zeros((), dtype=torch.int64))
        self.begun: Tensor
        """0-d int64: tasks that have begun."""
        self.register_buffer("is_between", torch.tensor(True))
        self.is_between: Tensor
        """0-d bool: whether the next experience begins a task."""

    def begin(self, task: TaskData) -> TaskData:
        """Draw fresh weights, and start a new optimizer, where a task begins."""
        if bool(self.is_between):
            self.begun.add_(1)
            if int(self.begun) > 1:
                self.weights.copy_(self.fresh_weights())
            self.optimizer.state.clear()
        return super().begin(task)

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Keep the weights; add the prototypes of the task's classes to each sub-space."""
        newest = int(self.begun) - 1
        self.kept[newest] = self.weights
        switch(self, False)
        for number in range(newest + 1):
            self._add(task, number)
        new = self._mean(newest).count > 0
        self.task_of.masked_fill_(new, newest)
        for there in range(1, newest + 1 if bool(new.any()) else 0):
            for known in range(there):
                self._put_together(known, there)
        self.is_between.fill_(bool(task.ends_task))

    def _add(self, task: TaskData, number: int) -> None:
        """Move the means of a task's classes in a sub-space."""
        means, size = self._mean(number), self.config.batch_size
        shares = means.shares(task.y, size).split(size)
        for (x, of, _), share in zip(batches(task, size), shares, strict=True):
            means.move(means.gaps(self.features(x, number), of), of, share)

    def _put_together(self, known: int, there: int) -> None:
        """Set the prototypes of a task's classes in a later sub-space, by the sub-space of the task."""
        old, seen_there = self.task_of == known, self.task_of >= there
        own, here = F.normalize(self._mean(known).mean, dim=1), self._mean(there).mean
        share = (own[old] @ own[seen_there].mT / self.config.temperature).softmax(1)
        here[old] = share @ here[seen_there]

    def _mean(self, number: int) -> ClassMeans:
        found = self.means[number]
        assert isinstance(found, ClassMeans)
        return found

    def features(self, x: Tensor, number: int) -> Tensor:
        """Map raw samples ``(B, *input_shape)`` to a sub-space, ``(B, d)``."""
        names = (name for name, _ in self.model.named_parameters())
        parts = self.per_parameter(self.kept[number])
        return features_at(self.model, dict(zip(names, parts, strict=True)), x)

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute weighed cosines: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        total = self.kept.new_zeros(len(x), self.info.n_classes)
        others = self.config.alpha / max(1, int(self.begun) - 1)
        for number in range(int(self.begun)):
            z = F.normalize(self.features(x, number), dim=1)
            cosines = z @ F.normalize(self._mean(number).mean, dim=1).mT
            total = total + torch.where(self.task_of == number, 1.0, others) * cosines
        return among_seen(total, self.task_of + 1)
