"""The base of scenarios: a frozen dataclass of settings that makes a stream from a pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from clbench import seeding
from clbench.data.pool import Pool
from clbench.errors import UsageError
from clbench.seeding import Axis
from clbench.settings import check
from clbench.stream import Stream, Task


@dataclass(frozen=True)
class Scenario(ABC):
    """Decides which samples come when; its fields are the settings ``scenario.<field>``."""

    recommended: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Defaults of other settings that suit the scenario, such as ``{"eval_every": 1}``."""

    argument: ClassVar[str] = ""
    """The setting that may be given after a colon, if there is one."""

    takes: ClassVar[type] = Pool
    """The kind of pool that it needs, raw or under an encoder. Most scenarios take any."""

    def __post_init__(self) -> None:
        check(self, "scenario")

    @abstractmethod
    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. It depends on the settings and the seed alone.

        Raises:
            UsageError: the pool cannot give what the settings ask for.
        """

    @classmethod
    def recommends(cls, argument: str | None) -> Mapping[str, object]:
        """Defaults of other settings, given what stands after the scenario's colon (None: nothing)."""
        return cls.recommended

    def files(self) -> tuple[Path, ...]:
        """List further source files whose code makes the stream, beside the plug-in's own."""
        return ()


def split_classes(
    n_classes: int, n_tasks: int | None, per_task: int | None, seed: int | None
) -> list[Task]:
    """Cut all classes, in a seeded order, into tasks whose sizes differ by at most one.

    Args:
        n_classes: the number of classes.
        n_tasks: the number of tasks; None: ``n_classes / per_task``, rounded up.
        per_task: classes in a task; None: ``n_tasks`` decides, and 2 if that is None too.
        seed: the run's seed; None: the classes come in the order of the data.

    Raises:
        UsageError: the tasks need more classes than there are, or leave some out.
    """
    if per_task is None and n_tasks is None:
        per_task = min(2, n_classes)
    order = [*range(n_classes)]
    if seed is not None:
        order = [int(c) for c in seeding.generator(seed, Axis.STREAM).permutation(n_classes)]
    if per_task is not None:
        wanted = -(-n_classes // per_task) if n_tasks is None else n_tasks
        if per_task > n_classes or (n_tasks is not None and n_tasks * per_task > n_classes):
            raise UsageError(
                f"scenario.classes_per_task={per_task} in {wanted} tasks: "
                f"the data have {n_classes} classes"
            )
        if n_tasks is not None and n_tasks * per_task != n_classes:
            raise UsageError(
                f"scenario.n_tasks={n_tasks} of {per_task} classes leave some of the {n_classes} "
                "classes out; set only one of the two"
            )
        sizes = [len(order[i : i + per_task]) for i in range(0, n_classes, per_task)]
    else:
        assert n_tasks is not None
        if n_tasks > n_classes:
            raise UsageError(f"scenario.n_tasks={n_tasks}: the data have {n_classes} classes")
        sizes = [n_classes // n_tasks + (t < n_classes % n_tasks) for t in range(n_tasks)]
    tasks, start = [], 0
    for size in sizes:
        tasks.append(Task(tuple(sorted(order[start : start + size]))))
        start += size
    return tasks


def tied(
    labels: np.ndarray, n_values: int, alignment: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw ``(n,)`` int64 values of an attribute in ``0..n_values-1`` that go with the labels.

    A value is ``label mod n_values`` with probability ``alignment``. Else it is any other value, and
    all are equally likely.
    """
    aligned = rng.random(len(labels)) < alignment
    other = rng.integers(1, n_values, len(labels))
    return np.asarray((labels + np.where(aligned, 0, other)) % n_values)
