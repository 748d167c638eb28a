"""Runs a strategy in float64, notes what it draws, and turns its stream into the loops' samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

import clbench
from clbench import seeding
from clbench.seeding import Axis

from .bare import Keys, Net, Samples, Task

STREAMS: dict[str, tuple[str, ...]] = {
    "recurring": (
        "scenario=scole",
        "scenario.n_tasks=4",
        "scenario.n_classes=4",
        "scenario.share=0.5",
    ),
    "told": ("scenario=task_incremental", "scenario.n_tasks=5"),
    "disjoint": ("scenario=class_incremental", "scenario.n_tasks=3"),
    "chunked": ("scenario=class_incremental", "scenario.n_tasks=3", "scenario.chunk=300"),
}
"""In ``recurring`` classes and samples come again; ``chunked`` has two chunks a task."""
LEARNT = {"recurring": 4, "told": 4, "disjoint": 3, "chunked": 6}
"""Experiences that are learnt: three tasks, or four."""
HIDDEN = 12


class Rig:
    """A strategy over one of the streams, ready to learn."""

    def __init__(self, stream: str, words: Iterable[str], epochs: int) -> None:
        common = ("data=digits", "model=mlp", f"model.hidden=[{HIDDEN}]", "device=cpu", "seed=3")
        self.run = clbench.prepare(*common, *STREAMS[stream], *words)
        self.strategy: Any = self.run.strategy().double()
        self.experiences = [self.run.stream.experience(t) for t in range(LEARNT[stream])]
        self.key_of = {
            x.numpy().tobytes(): int(key)
            for task in self.experiences
            for x, key in zip(task.x, task.key, strict=True)
        }
        self.scale = self.run.stream.pool.scale
        self.n_classes = self.run.stream.n_classes
        self.tasks = [self._task(task, epochs) for task in self.experiences]
        self.drawn: deque[Keys] = deque()
        self.trained: list[list[Keys]] = []
        self.entered: list[Tensor] = []

    def _task(self, task: Any, epochs: int) -> Task:
        opened = torch.ones(len(task), self.n_classes, dtype=torch.bool)
        number = None
        if task.task_id is not None:
            opened = torch.zeros_like(opened)
            opened[:, task.y.unique()] = True
            number = int(task.task_id[0])
        samples = Samples(task.key.tolist(), self.vectors(task.x), task.y, opened)
        orders = [list(range(len(task)))]
        orders += [task.epoch(e).tolist() for e in range(1, epochs)]
        return Task(samples, orders, number)

    def vectors(self, x: Tensor) -> Tensor:
        return x.flatten(1).double() * self.scale

    def net(self) -> Net:
        """The network as it is now."""
        parts = [p.detach().flatten() for p in self.strategy.model.parameters()]
        widths = [int(np.prod(self.run.stream.pool.input_shape)), HIDDEN, self.n_classes]
        return Net(torch.cat(parts), widths)

    def weights(self) -> Tensor:
        return self.net().start

    def keys(self, x: Tensor) -> Keys:
        """The keys of raw samples, by what they show."""
        return [self.key_of[one.numpy().tobytes()] for one in x]

    def note_draws(self) -> None:
        """Note the samples of every draw from the memory."""
        gather: Callable[..., Any] = self.strategy.gather

        def noted(*given: Any) -> Any:
            found = gather(*given)
            self.drawn.append(self.keys(found.x))
            return found

        self.strategy.gather = noted

    def note_batches(self) -> None:
        """Note the weights at the start of every training, and the samples of its batches."""
        train_on: Callable[..., None] = self.strategy.train_on

        def noted(batches: Iterable[Any], n_steps: int) -> None:
            self.entered.append(self.weights().clone())
            self.trained.append([])

            def each() -> Iterator[Any]:
                for batch in batches:
                    self.trained[-1].append(self.keys(batch.x))
                    yield batch

            train_on(each(), n_steps)

        self.strategy.train_on = noted

    def learn(self) -> None:
        """Learn all experiences, with every experience's generator seeded as in a run."""
        with seeding.preserved(1):
            for t, task in enumerate(self.experiences):
                self.seed(t)
                self.strategy.learn(task)
                self.strategy.prepare()

    def seed(self, t: int) -> None:
        """Seed the generator for an experience, as in a run."""
        seeding.seed_all(self.run.config.common.seed, Axis.LEARN, t)

    def told(self, epochs: int) -> list[Task]:
        """The tasks with the orders of so many epochs."""
        return [self._task(task, epochs) for task in self.experiences]
