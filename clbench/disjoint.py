"""The base of scenarios in which each class comes in one task only: which classes, in which order.

The class-incremental literature says its streams by a first task and an increment. ``B0-Inc10`` on 100
classes is ``n_tasks=10``; ``B50-Inc10`` is ``first=50 n_tasks=6``. Its class order is
``class_order=1993``. Few-shot class-incremental learning (Tao et al. 2020, arXiv 2004.10956) is
``first=60 classes_per_task=5 shots=5``. Long-tailed class-incremental learning (Liu et al. 2022, arXiv
2210.00266) is ``tail=ordered`` or ``tail=shuffled`` with ``tail_ratio=100``: the i-th of C classes
keeps ``floor(m / tail_ratio ** (i / (C - 1)))`` training samples, where m is the mean number of
samples of a class.

Deviations: the shots are drawn by our generator, equally for every seed (the few-shot papers have lists
of files); the shuffle of ``tail=shuffled`` is drawn from the seed; a class that has fewer samples than
the formula asks for gives all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, Literal

import numpy as np

from clbench import seeding
from clbench.data.pool import Pool
from clbench.errors import UsageError
from clbench.orders import order_of, read_order
from clbench.scenario import Scenario, task_sizes
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within
from clbench.stream import Task

TAIL_RATIO = 100.0
SHOTS_SEED = 1
"""The seed of the shots. A run's seed does not change them."""
TAIL = 1
"""The key on the stream's axis of the shuffle of a long tail."""


@dataclass(frozen=True)
class DisjointClasses(Scenario):
    """Cuts the classes into tasks by settings, and limits their samples."""

    n_tasks: Annotated[int | None, AtLeast(1)] = None
    """Number of tasks; null: it follows from classes_per_task, or from sizes."""
    classes_per_task: Annotated[int | None, AtLeast(1)] = None
    """Classes in a task, with first in each task after the first; null: it follows from n_tasks, or is
    2 if that is null too (1 with superclasses)."""
    first: Annotated[int | None, AtLeast(1)] = None
    """Classes in the first task; n_tasks and classes_per_task then divide the others. first=50
    n_tasks=6 on 100 classes: 50, then five times 10. null: as many as in every task."""
    sizes: Annotated[tuple[int, ...], AtLeast(1)] = ()
    """Classes in each task, such as [50,20,30], which take the place of the three settings above."""
    class_order: tuple[str, ...] = ("seed",)
    """Order in which classes come. seed: drawn from the seed; data: by label; 1993: the order of the
    class-incremental literature; [2,0,1] or FILE: these labels, each once."""
    superclasses: bool = False
    """Divide the super-classes of the data instead of the classes, and let a task have all classes of
    its super-classes. All settings above then count super-classes; by default a task has one."""
    shots: Annotated[int | None, AtLeast(1)] = None
    """Learn from this many samples of each class in the tasks after the first, the same ones for every
    seed; null: all."""
    tail: Literal["none", "ordered", "shuffled"] = "none"
    """Long-tailed class sizes: the first samples of each class are kept, exponentially fewer from class
    to class, in the order in which they come (ordered) or at random (shuffled). Tests are balanced."""
    tail_ratio: Annotated[float, Within(1)] = TAIL_RATIO
    """Ratio of the sizes of the largest and the smallest class, for tail."""

    def __post_init__(self) -> None:
        super().__post_init__()
        order = read_order(self.class_order, "scenario.class_order")
        object.__setattr__(self, "class_order", order)
        for name in ("n_tasks", "classes_per_task", "first"):
            if self.sizes and getattr(self, name) is not None:
                raise UsageError(
                    f"scenario.sizes and scenario.{name} both say how large tasks are; drop one"
                )
        if self.first is not None and self.n_tasks == 1:
            raise UsageError(f"scenario.first={self.first} leaves classes for more than n_tasks=1")
        if self.tail == "none" and self.tail_ratio != TAIL_RATIO:
            raise UsageError(
                f"scenario.tail_ratio={self.tail_ratio:g} needs scenario.tail=ordered or shuffled"
            )

    def tasks(self, pool: Pool, seed: int) -> list[Task]:
        """Make all tasks over a pool.

        Raises:
            UsageError: the pool cannot give what the settings ask for.
        """
        groups = _groups(pool, self.superclasses)
        unit = "super-classes" if self.superclasses else "classes"
        there = f"the data have {len(groups)} {unit}"
        sizes = self._sizes(len(groups), there)
        order = order_of(self.class_order, len(groups), seed, "scenario.class_order", there)
        kept = self._kept(pool, [c for group in order for c in groups[group]], seed)
        tasks = []
        for t, (start, stop) in enumerate(pairwise(accumulate(sizes, initial=0))):
            classes = tuple(sorted(c for group in order[start:stop] for c in groups[group]))
            if self.shots is not None and t > 0:
                kept.update((c, _shots(pool, c, self.shots, kept.get(c))) for c in classes)
            chosen = [kept[c] for c in classes if c in kept]
            tasks.append(Task(classes, index=np.concatenate(chosen) if chosen else None))
        if self.shots is not None and len(tasks) == 1:
            raise UsageError(
                f"scenario.shots={self.shots} limits the tasks after the first, and there is one task"
            )
        return tasks

    def _sizes(self, n: int, there: str) -> list[int]:
        """Compute the number of classes, or super-classes, of each task."""
        if self.sizes:
            if sum(self.sizes) != n:
                raise UsageError(
                    f"scenario.sizes={list(self.sizes)} add up to {sum(self.sizes)}; {there}"
                )
            return list(self.sizes)
        per_task = self.classes_per_task
        if self.superclasses and per_task is None and self.n_tasks is None:
            per_task = 1
        if self.first is None:
            return task_sizes(n, self.n_tasks, per_task, there)
        if self.first >= n:
            raise UsageError(f"scenario.first={self.first} leaves none for other tasks: {there}")
        rest = n - self.first
        n_tasks = None if self.n_tasks is None else self.n_tasks - 1
        if n_tasks is not None and (n_tasks > rest or n_tasks * (per_task or 0) not in (0, rest)):
            each = "" if per_task is None else f" of {per_task}"
            raise UsageError(
                f"scenario.first={self.first} scenario.n_tasks={self.n_tasks}: {n_tasks} more tasks"
                f"{each} do not fit the {rest} that are left; {there}"
            )
        after = f"{rest} are left after scenario.first={self.first}"
        return [self.first, *task_sizes(rest, n_tasks, per_task, after)]

    def _kept(self, pool: Pool, order: list[int], seed: int) -> dict[int, np.ndarray]:
        """For each class its training samples, ``(n,)`` int64 into the pool; empty: all of them."""
        if self.tail == "none":
            return {}
        of = pool.labels("train")
        share = 1 / self.tail_ratio
        last = max(1, len(order) - 1)
        sizes = [int(len(of) / len(order) * share ** (i / last)) for i in range(len(order))]
        if min(sizes) == 0:
            raise UsageError(
                f"scenario.tail_ratio={self.tail_ratio:g} leaves a class no sample: the classes have "
                f"{len(of) // len(order)} on average, so choose at most that"
            )
        if self.tail == "shuffled":
            rng = seeding.generator(seed, Axis.STREAM, TAIL)
            sizes = [sizes[i] for i in rng.permutation(len(sizes))]
        return {c: np.flatnonzero(of == c)[:n] for c, n in zip(order, sizes, strict=True)}


def _groups(pool: Pool, superclasses: bool) -> list[tuple[int, ...]]:
    """The classes, one a group, or those of each super-class."""
    if not superclasses:
        return [(c,) for c in range(pool.n_classes)]
    return classes_of_superclasses(pool, "scenario.superclasses=true")


def classes_of_superclasses(pool: Pool, asked: str) -> list[tuple[int, ...]]:
    """The classes of each super-class of a pool, ascending.

    Raises:
        UsageError: the data have no super-classes. ``asked`` is the setting that asks for them.
    """
    of = np.array(pool.superclasses)
    if len(of) == 0:
        raise UsageError(f"{asked}: these data have no super-classes")
    return [tuple(int(c) for c in np.flatnonzero(of == group)) for group in range(of.max() + 1)]


def _shots(pool: Pool, label: int, k: int, among: np.ndarray | None) -> np.ndarray:
    """Draw k samples of a class, by a generator whose seed depends on the label only."""
    there = np.flatnonzero(pool.labels("train") == label) if among is None else among
    if k > len(there):
        raise UsageError(f"scenario.shots={k}: class {label} has {len(there)} samples")
    return np.asarray(np.random.default_rng((SHOTS_SEED, label)).permutation(there)[:k])
