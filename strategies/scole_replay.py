"""SCoLe's replay: whole classes come back, chosen at random or because they are rare.

Lesort et al. 2023 (CoLLAs, arXiv 2207.04543) and the authors' code. The memory has as many places for
each class (theirs: 200). Before a task, stored samples of some classes that are not in the task join
it, all of them, and it is trained on as if they had been delivered:

- ``random``: Binomial(k, budget) of the classes seen so far, k being the classes of the task;
- ``frequency``: the rarest, up to k, among those that came in at least 3 tasks and in a share of all
  tasks between ``low`` and ``high``. Under uniform draws of 2 of 10 classes no class is that rare, and
  nothing is replayed.

After a task, a class that came in n tasks before has ``max(places / (n + 1), places / 20)`` of its
stored samples overwritten, at random, by samples of the task.

Deviations: a sample is stored once (theirs may be twice); free places are filled first; replayed
samples go through the task's augmentation (theirs lose it). Their variant that weighs occurrences by
validation accuracy is left out. Where boundaries are hidden, every experience counts as a task.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from clbench import GradientStrategy, StreamInfo, TaskData, UsageError
from clbench.memory.buffer import slot_bytes, slot_layout
from clbench.memory.policies import rank_within
from clbench.replay import MemoryConfig, memory_slots, stored_dtype

PLACES = 200
"""Stored samples of a class where no size is set."""
LEAST_OCCURRENCES = 3


class ScoleReplay(GradientStrategy):
    """Replay of whole classes, at random or by frequency."""

    @dataclass(frozen=True)
    class Config(MemoryConfig):
        """Settings of SCoLe's replay."""

        choose: Literal["random", "frequency"] = "random"
        """random: any classes seen before; frequency: the rarest within low and high."""
        budget: float = 1.0
        """Probability that a class of the task brings a replayed one with it; for choose=random."""
        low: float = 0.01
        """Classes that came in a smaller share of the tasks are not replayed; for frequency."""
        high: float = 0.1
        """Nor are those that came in a larger share; for frequency."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("budget", "low", "high"):
                if not 0 <= getattr(self, name) <= 1:
                    raise UsageError(f"strategy.{name}={getattr(self, name)} must be in [0, 1]")
            if self.low > self.high:
                raise UsageError(f"strategy.low={self.low} must not be above high={self.high}")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        n = info.n_classes
        layout = slot_layout(info, dtype=stored_dtype(info, config))
        del layout["y"]  # the place says the class
        size = memory_slots(config, slot_bytes(layout), default=PLACES * n)
        if size < n:
            raise UsageError(
                f"a memory of {size} samples has no place for each of {n} classes; enlarge "
                "strategy.memory_size or strategy.memory_bytes"
            )
        self.places = size // n
        self.slots = tuple(layout)
        for name, (shape, dtype) in layout.items():
            self.register_buffer(name, torch.zeros(n * self.places, *shape, dtype=dtype))
        for name in ("filled", "occurrences"):
            self.register_buffer(name, torch.zeros(n, dtype=torch.int64))
        self.register_buffer("n_tasks", torch.zeros((), dtype=torch.int64))
        self.x: Tensor
        """``(n_classes * places, *input_shape)``, class after class."""
        self.key: Tensor
        self.filled: Tensor
        """``(n_classes,)`` int64: stored samples of each."""
        self.occurrences: Tensor
        """``(n_classes,)`` int64: tasks that each came in."""
        self.n_tasks: Tensor
        self._delivered: TaskData | None = None

    def begin(self, task: TaskData) -> TaskData:
        """The task with all stored samples of the chosen classes, in random order."""
        self._delivered = task
        device = task.y.device
        filled = self.filled.tolist()
        ranges = [
            torch.arange(c * self.places, c * self.places + filled[c], device=device)
            for c in self._chosen({int(c) for c in task.y.unique().tolist()} - {-1})
        ]
        if not ranges:
            return task
        index = torch.cat(ranges)
        order = torch.randperm(len(task) + len(index), device=device)

        def joined(new: Tensor, stored: Tensor) -> Tensor:
            return torch.cat([new, stored[index].to(new.dtype)])[order]

        classes = torch.arange(len(self.key), device=device) // self.places
        ids = task.task_id
        return replace(
            task,
            x=joined(task.x, self.x),
            y=joined(task.y, classes),
            key=joined(task.key, self.key),
            task_id=None if ids is None else joined(ids, self.get_buffer("task_id")),
        )

    def _chosen(self, here: set[int]) -> list[int]:
        """The classes to replay next to those that are here; host numbers, once a task."""
        occurrences, n_tasks = self.occurrences.tolist(), int(self.n_tasks)
        others = [c for c, n in enumerate(occurrences) if n > 0 and c not in here]
        if self.config.choose == "random":
            n = int((torch.rand(len(here), device="cpu") < self.config.budget).sum())
            order = torch.randperm(len(others), device="cpu").tolist()
            return [others[i] for i in order[:n]]
        low, high = self.config.low * n_tasks, self.config.high * n_tasks
        rare = [c for c in others if occurrences[c] >= LEAST_OCCURRENCES]
        rare = [c for c in rare if low < occurrences[c] <= high]
        return sorted(rare, key=lambda c: (occurrences[c], c))[: len(here)]

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Put samples of the task in free places, or over some of those stored."""
        assert self._delivered is not None
        task, self._delivered = self._delivered, None
        labelled = (task.y >= 0).nonzero().squeeze(1)
        came = torch.zeros_like(self.filled, dtype=torch.bool)
        came[task.y[labelled]] = True
        renewed = self.places / (self.occurrences + 1)
        renewed = renewed.clamp_min(max(1, math.ceil(self.places / 20))).long()
        order = labelled[torch.randperm(len(labelled), device=task.y.device)]
        # Of each class the first so many, in random order, are to enter, and some of them are there.
        limit = torch.maximum(renewed, self.places - self.filled)[task.y[order]]
        unseen = ~torch.isin(task.key[order], self._stored_keys())
        entering = order[unseen & (rank_within(task.y[order], _all(order)) < limit)]
        y = task.y[entering]
        rank = rank_within(y, _all(y))
        free = (self.places - self.filled)[y]
        overwritten = torch.rand(len(self.filled), self.places, device=y.device)
        at = torch.arange(self.places, device=y.device)
        overwritten = overwritten.masked_fill(at >= self.filled[:, None], 2.0).argsort(1)
        late = overwritten[y, (rank - free).clamp_min(0)]
        place = torch.where(rank < free, self.filled[y] + rank, late)
        for name in self.slots:
            buffer, values = self.get_buffer(name), getattr(task, name)
            buffer[y * self.places + place] = values[entering].to(buffer.dtype)
        self.filled.add_(y.bincount(minlength=len(self.filled))).clamp_(max=self.places)
        self.occurrences.add_(came)
        self.n_tasks.add_(1)

    def _stored_keys(self) -> Tensor:
        """``(n,)``: the keys of the filled places."""
        at = torch.arange(self.places, device=self.key.device)
        return self.key.view(-1, self.places)[at < self.filled[:, None]]

    def memory_bytes(self) -> int:
        """Bytes of the places."""
        return sum(self.get_buffer(name).nbytes for name in self.slots)


def _all(values: Tensor) -> Tensor:
    return torch.arange(len(values), device=values.device)
