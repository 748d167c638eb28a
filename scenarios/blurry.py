"""Blurry: some classes come in one task only, the samples of others leak into all tasks; one pass.

- ``boundaries=fixed``: i-Blurry (Koh et al. 2022, "Online Continual Learning on Class Incremental
  Blurry Task Configuration with Anytime Inference", ICLR; arXiv 2110.10031). ``disjoint`` % of the
  classes are disjoint, the others blurry. Both are cut into T equal tasks in one seeded order.
  ``blur`` % of the samples of each task's blurry classes go into a pool, which is shuffled and dealt
  back equally.
- ``boundaries=stochastic``: Si-Blurry (Moon et al. 2023, ICCV; arXiv 2308.09303). The T - 1 cuts of the
  disjoint classes, of the blurry classes and of the pool are sorted uniform integers, so the sizes of
  the tasks vary. Tasks that stay empty are dropped.

Every sample is delivered once, in chunks whose boundaries are hidden. The published protocol is
``n_tasks=5 disjoint=50 blur=10``, five seeds, an evaluation every 1,000 samples on the classes seen so
far: the metric ``a_auc``. With ``chunk=n``, ``eval_every=m`` evaluates about every n m samples.

Deviations from the authors' code (Si-Blurry's sampler, which has both): where T does not divide the
numbers of classes, theirs leave classes out, and here the first tasks have one more; likewise no
sample of the pool is left out; the samples that leak are drawn, where theirs are the first in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class Blurry(Scenario):
    """Mixes disjoint classes with blurry ones, whose samples leak into all tasks."""

    recommended: ClassVar[Mapping[str, object]] = MappingProxyType({"eval_every": "10"})

    boundaries: Literal["fixed", "stochastic"] = "fixed"
    """fixed: tasks have equally many classes (i-Blurry); stochastic: the cuts are drawn (Si-Blurry)."""
    n_tasks: Annotated[int, AtLeast(1)] = 5
    """Number of tasks (T)."""
    disjoint: Annotated[int, Within(0, 100)] = 50
    """Percentage of the classes that come in one task only (n), rounded down to whole classes; 0: all
    classes are blurry; 100: class-incremental."""
    blur: Annotated[int, Within(0, 100)] = 10
    """Percentage of a blurry class's samples that leak into other tasks (m)."""
    chunk: Annotated[int | None, AtLeast(1)] = 16
    """Deliver tasks in pieces of this many samples and hide their boundaries; null: whole tasks."""

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool; its tasks are drawn when it is made."""
        if self.n_tasks > pool.n_classes:
            raise UsageError(
                f"scenario.n_tasks={self.n_tasks}: the data have {pool.n_classes} classes"
            )
        tasks = self._tasks(pool.labels("train"), pool.n_classes, seed)
        every = [label for task in tasks for label in task.classes]
        return Stream(
            pool=pool,
            seed=seed,
            plan=tasks.__getitem__,
            n_tasks=len(tasks),
            labels=tuple(range(pool.n_classes)),
            chunk=self.chunk,
            disjoint=len(set(every)) == len(every),
        )

    def _tasks(self, of: np.ndarray, n_classes: int, seed: int) -> tuple[Task, ...]:
        """Deal out the samples; ``of`` are their labels."""
        rng = seeding.generator(seed, Axis.STREAM)
        order = rng.permutation(n_classes)
        n_disjoint = n_classes * self.disjoint // 100
        disjoint = self._cut(order[:n_disjoint], rng)
        blurry = self._cut(order[n_disjoint:], rng)
        own = [rng.permutation(np.flatnonzero(np.isin(of, classes))) for classes in blurry]
        kept, dealt = self._blurred(own, rng)
        tasks = []
        for classes, *parts in zip(disjoint, kept, dealt, strict=True):
            index = np.concatenate([np.flatnonzero(np.isin(of, classes)), *parts])
            if len(index):
                labels = tuple(int(label) for label in np.unique(of[index]))
                tasks.append(Task(labels, index=index))
        return tuple(tasks)

    def _cut(self, values: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """Cut values into a part for each task: equal parts, or at drawn places."""
        if self.boundaries == "fixed":
            return np.array_split(values, self.n_tasks)
        return _parts(values, self._bounds(len(values), rng))

    def _bounds(self, size: int, rng: np.random.Generator) -> list[int]:
        """Draw where ``size`` values are cut into tasks: ``n_tasks + 1`` places, ascending."""
        if size == 0:
            return [0] * (self.n_tasks + 1)
        return [0, *sorted(rng.integers(0, size, self.n_tasks - 1).tolist()), size]

    def _blurred(
        self, own: list[np.ndarray], rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Take each task's part of the pool from its blurry samples; deal the shuffled pool out.

        With drawn cuts, a task that has fewer samples than its part gives all that it has, and the
        last tasks get fewer back.
        """
        if self.boundaries == "fixed":
            given = [len(index) * self.blur // 100 for index in own]
        else:
            bounds = self._bounds(sum(map(len, own)) * self.blur // 100, rng)
            given = [high - low for low, high in pairwise(bounds)]
        pool = rng.permutation(np.concatenate([i[:n] for i, n in zip(own, given, strict=True)]))
        kept = [index[n:] for index, n in zip(own, given, strict=True)]
        if self.boundaries == "fixed":
            return kept, np.array_split(pool, self.n_tasks)
        return kept, _parts(pool, bounds)


def _parts(values: np.ndarray, bounds: list[int]) -> list[np.ndarray]:
    """Cut values at ascending places; parts beyond the last value are empty."""
    return [values[low:high] for low, high in pairwise(bounds)]
