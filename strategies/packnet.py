"""PackNet: each task gets weights of its own inside one network; they are then frozen.

Mallya & Lazebnik 2018, "PackNet: Adding Multiple Tasks to a Single Network by Iterative Pruning"
(CVPR, arXiv 1711.05769, section 3). A task trains the free weights of a network whose others are
frozen. Then, in each layer, the smallest of the free weights are set to 0 (|w| below a quantile),
the others are trained for ``retrain_epochs`` more and belong to the task from then on. With a_i the
number of the task that weight i belongs to, task t is predicted with

    w_i where a_i <= t, else 0,

so that later tasks change nothing. Biases and norm layers, with their statistics, are trained in the
first task and then kept. The rows of the output layer belong to the classes of their task, and none is
pruned. The paper prunes 50 to 75 %; by default here every task of the stream keeps equally many.

Deviations: all tasks share one output layer, whose scores are masked by the task. Tasks that are not
told, are cut, share classes or come again are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call

from clbench import Batch, GradientStrategy, Needs, StreamInfo, TaskData, UsageError
from clbench.nets.modes import keep_statistics
from clbench.nets.parameters import output_parameters
from clbench.settings import AtLeast, Within
from clbench.space import Choices

FREE = 255


class PackNet(GradientStrategy):
    """Trains a task's share of the weights, prunes it, and keeps it for good."""

    needs = Needs(task_id=True, boundaries=True, disjoint_classes=True, n_tasks=True)

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of PackNet."""

        prune: Annotated[float | None, Within(0, 1, open_high=True)] = None
        """Share of a layer's free weights that a task leaves to later ones; null: what gives all
        tasks equally many (the last task leaves none)."""
        retrain_epochs: Annotated[int, AtLeast(0)] = field(
            default=1, metadata={"space": Choices(1, 2)}
        )
        """Passes over a task after its weights were pruned."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.reset_weights:
                raise UsageError("strategy.reset_weights=true undoes what is kept; leave it out")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        assert info.n_tasks is not None
        if info.n_tasks >= FREE:
            raise UsageError(f"packnet holds fewer than {FREE} tasks, not {info.n_tasks}")
        output = output_parameters(self.model)
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.prunable = [p.dim() > 1 and name not in output for name, p in named]
        self.is_output = [name in output for name in self.names]
        owner = torch.full(self.weights.shape, FREE, dtype=torch.uint8, device=self.weights.device)
        self.register_buffer("owner", owner)
        self.register_buffer("place", torch.full((info.n_tasks,), FREE, dtype=torch.uint8))
        self.owner: Tensor
        """``(P,)`` uint8: each weight's task, in the order of learning; 255: free."""
        self.place: Tensor
        """``(n_tasks,)`` uint8: which task each number was in the order of learning; 255: to come."""
        self._mine = torch.ones_like(owner, dtype=torch.bool)

    def begin(self, task: TaskData) -> TaskData:
        """Open the free weights to a new task, and to the first one the biases too."""
        assert task.task_id is not None
        number, learnt = int(task.task_id[0]), int((self.place < FREE).sum())
        if int(self.place[number]) < FREE:
            raise UsageError(f"packnet learns a task once, and task {number} came again")
        self.place[number] = learnt
        self._mine = self.owner == FREE
        for part, prunable, is_output in self._parts(self._mine):
            if is_output:
                part.fill_(False)[task.classes] = True
            elif not prunable and learnt:
                part.fill_(False)
        if learnt:
            keep_statistics(self.model)
        return task

    def _parts(self, vector: Tensor) -> Iterator[tuple[Tensor, bool, bool]]:
        """Split a ``(P,)`` vector; each part with whether it is pruned, and is of the output layer."""
        return zip(self.per_parameter(vector), self.prunable, self.is_output, strict=True)

    def step(self, batch: Batch) -> None:
        """Update the weights of the task alone."""
        before = self.weights.clone()
        self.descend(self.gradient(batch).mul_(self._mine))
        self.weights.copy_(torch.where(self._mine, self.weights, before))

    def consolidate(self, task: TaskData) -> None:
        """Prune what the task trained, train the rest again, and keep it."""
        assert self.info.n_tasks is not None
        learnt = int((self.place < FREE).sum()) - 1
        equal = 1 - 1 / (self.info.n_tasks - learnt)
        share = equal if self.config.prune is None else self.config.prune
        weights = self.per_parameter(self.weights)
        for w, (mine, prunable, _) in zip(weights, self._parts(self._mine), strict=True):
            if prunable:
                dropped = smallest(w, mine, share)
                w.masked_fill_(dropped, 0)
                mine.masked_fill_(dropped, False)
        if n := self.config.retrain_epochs * -(-len(task) // self.config.batch_size):
            self.train_on(self._again(task), n)
        self.owner.masked_fill_(self._mine, learnt)

    def _again(self, task: TaskData) -> Iterator[Batch]:
        """Cut the task into batches of the epochs that train again."""
        for epoch in range(self.config.retrain_epochs):
            order = task.epoch(self.config.epochs + epoch)
            assert order is not None
            for part in task.part(order).split(self.config.batch_size):
                yield Batch(part.x, part.y, part.task_id, task.classes)

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Score each sample with the weights of its task and of the tasks before it."""
        assert task_id is not None
        scores = self.weights.new_empty(len(x), self.info.n_classes)
        for number in task_id.unique().tolist():
            rows = (task_id == number).nonzero().squeeze(1)
            owned = self.owner <= self.place[number]
            for part, prunable, _ in self._parts(owned):
                part.fill_(True) if not prunable else part
            named = dict(zip(self.names, self.per_parameter(self.weights * owned), strict=True))
            scores[rows] = functional_call(self.model, named, (x[rows],))
        return scores


def smallest(w: Tensor, among: Tensor, share: float) -> Tensor:
    """Mark a share of the weights ``among``, those nearest to 0: bool of the shape of ``w``."""
    n = round(share * int(among.sum()))
    order = w.abs().masked_fill(~among, torch.inf).flatten().argsort(stable=True)
    marked = torch.zeros_like(among)
    marked.view(-1)[order[:n]] = True
    return marked
