"""The base of scenarios: a frozen dataclass of settings that makes a stream from a pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import numpy as np

from clbench import seeding
from clbench.data.pool import Pool
from clbench.errors import UsageError
from clbench.labels import Labelling
from clbench.seeding import Axis
from clbench.settings import Within, check, refuse_set
from clbench.stream import Stream, Task

NOISE_RATE = 0.2


@dataclass(frozen=True)
class Scenario(ABC):
    """Decides which samples come when; its fields are the settings ``scenario.<field>``.

    Every scenario has the settings declared here, which change the labels of training samples;
    ``with_options`` applies them to its stream.
    """

    recommended: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Defaults of other settings that suit the scenario, such as ``{"eval_every": 1}``."""

    argument: ClassVar[str] = ""
    """The setting that may be given after a colon, if there is one."""

    takes: ClassVar[type] = Pool
    """The kind of pool that it needs, raw or under an encoder. Most scenarios take any."""

    label_noise: Literal["none", "symmetric", "asymmetric"] = field(default="none", kw_only=True)
    """Wrong labels of training samples. symmetric: any other class, all equally likely; asymmetric:
    the next class. They are classes of the sample's task where each class is in one task only, else of
    the stream. A sample keeps its wrong label when it comes again; test labels are right."""
    label_noise_rate: Annotated[float, Within(0, 1, open_low=True)] = field(
        default=NOISE_RATE, kw_only=True
    )
    """Probability that a training label is wrong, for label_noise=symmetric and asymmetric."""
    unlabelled: Annotated[float, Within(0, 1, open_high=True)] = field(default=0.0, kw_only=True)
    """Share of the training samples whose labels are withheld (-1), drawn once for each sample. Losses
    and statistics that need a label leave them out."""

    def __post_init__(self) -> None:
        check(self, "scenario")
        refuse_set(self, self.without_effect(), "scenario")
        if self.label_noise == "none" and self.label_noise_rate != NOISE_RATE:
            raise UsageError(
                f"scenario.label_noise_rate={self.label_noise_rate} needs "
                "scenario.label_noise=symmetric or asymmetric"
            )

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing as the others are, and because of which; they are refused."""
        return {}

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

    def with_options(self, stream: Stream) -> Stream:
        """Return its stream with the wrong and withheld labels that the settings ask for.

        Raises:
            UsageError: a task has a single class, so that no label can be wrong.
        """
        if self.label_noise == "none" and not self.unlabelled:
            return stream
        rate = 0.0 if self.label_noise == "none" else self.label_noise_rate
        if self.label_noise != "none":
            for t in range(1 if stream.n_tasks is None else stream.n_tasks):
                if len(stream.label_choices(stream.plan(t))) < 2:
                    raise UsageError(
                        f"scenario.label_noise={self.label_noise}: task {t} has one class, so its "
                        "labels cannot be wrong; give each task two classes"
                    )
                if not (stream.disjoint or stream.task_ids or stream.labels_in is not None):
                    break  # the choices are the same in every task
        return replace(stream, labelling=Labelling(self.label_noise, rate, self.unlabelled))

    def resolved(self, stream: Stream) -> dict[str, object]:
        """Say what settings that are null come to, by name; only for the record.

        By default the tasks and classes of the stream, where there are settings of these names.
        """
        known = {"n_tasks": stream.n_tasks, "n_classes": stream.n_classes}
        return {name: value for name, value in known.items() if hasattr(self, name)}

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
    sizes = task_sizes(n_classes, n_tasks, per_task)
    order = [*range(n_classes)]
    if seed is not None:
        order = [int(c) for c in seeding.generator(seed, Axis.STREAM).permutation(n_classes)]
    ends = pairwise(accumulate(sizes, initial=0))
    return [Task(tuple(sorted(order[start:stop]))) for start, stop in ends]


def task_sizes(n: int, n_tasks: int | None, per_task: int | None, there: str = "") -> list[int]:
    """Cut ``n`` classes into tasks whose sizes differ by at most one.

    Args:
        n: the number of classes.
        n_tasks: the number of tasks; None: ``n / per_task``, rounded up; the last may be smaller.
        per_task: classes in a task; None: ``n_tasks`` decides, and 2 if that is None too.
        there: says how many classes there are, for errors; empty: that the data have ``n``.

    Raises:
        UsageError: the tasks need more classes than there are, or leave some out.
    """
    there = there or f"the data have {n} classes"
    if per_task is None and n_tasks is None:
        per_task = min(2, n)
    if per_task is not None:
        wanted = -(-n // per_task) if n_tasks is None else n_tasks
        if per_task > n or (n_tasks is not None and n_tasks * per_task > n):
            raise UsageError(f"scenario.classes_per_task={per_task} in {wanted} tasks: {there}")
        if n_tasks is not None and n_tasks * per_task != n:
            raise UsageError(
                f"scenario.n_tasks={n_tasks} of {per_task} classes leave some of the {n} "
                "classes out; set only one of the two"
            )
        return [min(per_task, n - start) for start in range(0, n, per_task)]
    assert n_tasks is not None
    if n_tasks > n:
        raise UsageError(f"scenario.n_tasks={n_tasks}: {there}")
    return [n // n_tasks + (t < n % n_tasks) for t in range(n_tasks)]


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
