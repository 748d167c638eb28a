"""SCoLe's replay: replays whole classes, chosen at random or because they are rare.

Lesort et al. 2023 (CoLLAs, arXiv 2207.04543) and the authors' code. The memory has equally many places
for each class (theirs: 200). Before a task, all stored samples of some classes that are not in the
task are added to it, and training treats them as delivered. The classes are

- ``random``: Binomial(k, budget) of the classes seen so far, with k the number of the task's classes;
- ``frequency``: the rarest, up to k, among those that were trained in at least 3 tasks and in a share
  of all tasks between ``low`` and ``high``. With uniform draws of 2 of 10 classes no class is that
  rare, and nothing is replayed.

A class counts in every task that trains on it, delivered or replayed, as in the authors' code.

After a task, samples of the task overwrite ``max(places / (n + 1), places / 20)`` stored samples of a
class that was trained in n tasks before, at random.

Deviations: a sample is stored once (theirs may be stored twice); free places are filled first;
replayed samples are augmented like the task's (theirs are not). Their variant that weights
occurrences by validation accuracy is left out. If boundaries are hidden, every experience counts as a
task.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from clbench import GradientStrategy, StreamInfo, TaskData, UsageError
from clbench.memory.buffer import PART, slot_bytes, slot_layout
from clbench.memory.policies import rank_within
from clbench.replay import MemoryConfig, memory_slots, stored_dtype
from clbench.settings import Within

PLACES = 200
"""Stored samples of each class, if no size is set."""
LEAST_OCCURRENCES = 3
"""A class that was trained in fewer tasks is not replayed by frequency."""


class ScoleReplay(GradientStrategy):
    """Replays whole classes, at random or by frequency."""

    @dataclass(frozen=True)
    class Config(MemoryConfig):
        """Settings of SCoLe's replay."""

        choose: Literal["random", "frequency"] = "random"
        """random: any classes seen before; frequency: the rarest within low and high."""
        budget: Annotated[float, Within(0, 1)] = 1.0
        """Probability, for each class of the task, that one class is replayed; for choose=random."""
        low: Annotated[float, Within(0, 1)] = 0.01
        """Classes that came in a smaller share of the tasks are not replayed; for frequency."""
        high: Annotated[float, Within(0, 1)] = 0.1
        """Classes that came in a larger share of the tasks are not replayed; for frequency."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.low > self.high:
                raise UsageError(f"strategy.low={self.low} must not be above high={self.high}")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        n = info.n_classes
        layout = slot_layout(info, dtype=stored_dtype(info, config))
        del layout["y"]  # the place determines the class
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
        """``(n_classes,)`` int64: stored samples of each class."""
        self.occurrences: Tensor
        """``(n_classes,)`` int64: the number of tasks that each class was trained in."""
        self.n_tasks: Tensor
        self._delivered: TaskData | None = None

    def resolved(self) -> dict[str, object]:
        """Add the size of the memory in samples."""
        return {**super().resolved(), "memory_size": len(self.filled) * self.places}

    def begin(self, task: TaskData) -> TaskData:
        """Add all stored samples of the chosen classes to the task, in random order."""
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
        ids = self.get_buffer("task_id")[index] if task.task_id is not None else None
        stored = TaskData(self.x[index], index // self.places, self.key[index], ids)
        return task.joined(stored).part(order)

    def _chosen(self, here: set[int]) -> list[int]:
        """Choose the classes to replay beside those of the task, on the host, once a task."""
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
        """Store samples of the task in free places, or in place of stored ones."""
        assert self._delivered is not None
        came = torch.zeros_like(self.filled, dtype=torch.bool)
        came[task.y[task.y >= 0]] = True
        task, self._delivered = self._delivered, None
        labelled = (task.y >= 0).nonzero().squeeze(1)
        renewed = self.places / (self.occurrences + 1)
        renewed = renewed.clamp_min(max(1, math.ceil(self.places / 20))).long()
        order = labelled[torch.randperm(len(labelled), device=task.y.device)]
        # In random order, the first samples of each class up to its limit enter, if not yet stored.
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
        slots = y * self.places + place
        for name in self.slots:
            if name != "x":
                self.get_buffer(name)[slots] = getattr(task, name)[entering]
        for at, x in zip(slots.split(PART), task.samples(PART, entering), strict=True):
            self.x[at] = x.to(self.x.dtype)
        self.filled.add_(y.bincount(minlength=len(self.filled))).clamp_(max=self.places)
        self.occurrences.add_(came)
        self.n_tasks.add_(1)

    def _stored_keys(self) -> Tensor:
        """Return the keys of the filled places, ``(n,)``."""
        at = torch.arange(self.places, device=self.key.device)
        return self.key.view(-1, self.places)[at < self.filled[:, None]]

    def memory_bytes(self) -> int:
        """Count the bytes of the places."""
        return sum(self.get_buffer(name).nbytes for name in self.slots)


def _all(values: Tensor) -> Tensor:
    return torch.arange(len(values), device=values.device)
