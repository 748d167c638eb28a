"""Class-incremental with repetition (CIR): new classes arrive while old ones come back.

Hemati et al. 2023, "Class-Incremental Learning with Repetition" (CoLLAs; arXiv 2301.11396), with both
of its stream generators:

- ``mode=slot``: N tasks of K slots. The samples of each class are shuffled and cut into as many slots
  as the class has; of C classes, each has ``N K // C``, and ``N K mod C`` drawn ones have one more. The
  tasks are filled from the last to the first, each with K different classes, all equally likely, that
  have a slot left. Only where fewer than K classes have one left does a class come twice in a task.
  Every sample is delivered once.
- ``mode=sampling``: the task in which a class comes first is drawn from ``first_occurrence``, for each
  class independently. In each later task it comes again with its own probability, which ``recurrence``
  says. Tasks without a class are dropped, so the stream may be shorter than ``n_tasks``. ``samples``
  are split evenly over the classes of a task (a remainder goes to drawn classes, one each), and drawn
  without replacement within a task, and again in each task.

SCoLe is a special case. Where all classes come at once (``first_occurrence=geometric first_p=1``), the
classes of a ``sampling`` task are, given their number k, those that ``scenario=scole`` with
``classes_per_task=k`` draws; with ``recurrence_p=1`` every task has all classes in both. In
``mode=slot`` tasks are drawn as in SCoLe, from the last one back, until a class has no slot left.

Deviations from the authors' code: the slots of a class differ in size by at most one sample, where
theirs are equal and drop the remainder; generators are ours. As in their code, a class with fewer
samples than its share of a ``sampling`` task delivers all that it has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.seeding import Axis
from clbench.settings import AtLeast, Positive, Within

SAMPLING = {"mode": "sampling"}
NEEDS = {
    "slots": {"mode": "slot"},
    "samples": SAMPLING,
    "first_occurrence": SAMPLING,
    "first_p": SAMPLING | {"first_occurrence": "geometric"},
    "first_mu": SAMPLING | {"first_occurrence": "poisson"},
    "first_exponent": SAMPLING | {"first_occurrence": "zipf"},
    "recurrence": SAMPLING,
    "recurrence_p": SAMPLING | {"recurrence": "fixed"},
    "recurrence_exponent": SAMPLING | {"recurrence": "zipf"},
    "frac": SAMPLING | {"recurrence": "dual"},
    "p_low": SAMPLING | {"recurrence": "dual"},
    "p_high": SAMPLING | {"recurrence": "dual"},
}
"""What a setting needs beside it, to have an effect."""


@dataclass(frozen=True)
class Repetition(Scenario):
    """Brings classes back, by slots or by probabilities of first occurrence and recurrence."""

    mode: Literal["slot", "sampling"] = "slot"
    """slot: every task has the same number of slots and every sample comes once; sampling: first
    occurrences and recurrences are drawn from distributions."""
    n_tasks: Annotated[int, AtLeast(1)] = 20
    """Number of tasks (N, n_e). In mode=sampling tasks without a class are dropped."""
    slots: Annotated[int, AtLeast(1)] = 3
    """Slots, and so classes, in a task of mode=slot (K)."""
    samples: Annotated[int, AtLeast(1)] = 100
    """Samples in a task of mode=sampling (s_e)."""
    first_occurrence: Literal["geometric", "uniform", "poisson", "zipf"] = "geometric"
    """Distribution of the task in which a class comes first, cut off at n_tasks (P_f)."""
    first_p: Annotated[float, Within(0, 1, open_low=True)] = 0.2
    """Parameter of first_occurrence=geometric: small values spread the classes over the stream; 1: all
    classes come in the first task."""
    first_mu: Annotated[float, Positive] = 5.0
    """Mean task number, from 0, of first_occurrence=poisson."""
    first_exponent: Annotated[float, AtLeast(0)] = 1.0
    """Exponent of first_occurrence=zipf: task t has the weight (t + 1)^-exponent."""
    recurrence: Literal["fixed", "zipf", "dual"] = "fixed"
    """Probability that a class comes in a task after its first (P_r). fixed: one for all classes; zipf:
    i^-exponent for the i-th of the shuffled classes; dual: rare and frequent classes."""
    recurrence_p: Annotated[float, Within(0, 1)] = 0.2
    """The probability of recurrence=fixed."""
    recurrence_exponent: Annotated[float, AtLeast(0)] = 1.0
    """Exponent of recurrence=zipf; 0: every class comes in every task after its first."""
    frac: Annotated[float, Within(0, 1)] = 0.3
    """Share of rare classes for recurrence=dual, rounded down."""
    p_low: Annotated[float, Within(0, 1)] = 0.1
    """Probability of a rare class for recurrence=dual."""
    p_high: Annotated[float, Within(0, 1)] = 1.0
    """Probability of a frequent class for recurrence=dual."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        defaults = {field.name: field.default for field in fields(self)}
        for name, needed in NEEDS.items():
            value = getattr(self, name)
            for other, wanted in needed.items():
                if value != defaults[name] and getattr(self, other) != wanted:
                    raise UsageError(f"scenario.{name}={value} needs scenario.{other}={wanted}")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool; its tasks are drawn when it is made."""
        of = pool.labels("train")
        members = [np.flatnonzero(of == label) for label in range(pool.n_classes)]
        rng = seeding.generator(seed, Axis.STREAM)
        plan: _Slots | _Samples
        if self.mode == "slot":
            plan = self._slots(members, rng)
        else:
            plan = _Samples(self._table(len(members), rng), members, self.samples, seed)
        return Stream(
            pool=pool,
            seed=seed,
            plan=plan,
            n_tasks=plan.n_tasks,
            labels=tuple(range(pool.n_classes)),
            chunk=self.chunk,
            disjoint=plan.disjoint,
        )

    def _slots(self, members: list[np.ndarray], rng: np.random.Generator) -> _Slots:
        """Cut the classes into slots and hand them out, the last task first."""
        n, total = len(members), self.n_tasks * self.slots
        if self.slots > n:
            raise UsageError(f"scenario.slots={self.slots}: the data have {n} classes")
        count = np.full(n, total // n)
        count[rng.permutation(n)[: total % n]] += 1
        for label, (slots, index) in enumerate(zip(count.tolist(), members, strict=True)):
            if not 1 <= slots <= len(index):
                raise UsageError(
                    f"scenario.n_tasks={self.n_tasks} of scenario.slots={self.slots} make {slots} "
                    f"slots of class {label}, which has {len(index)} samples; each slot needs one, "
                    "and each class a slot"
                )
        left = [
            np.array_split(index[rng.permutation(len(index))], slots)
            for slots, index in zip(count.tolist(), members, strict=True)
        ]
        tasks = []
        for _ in range(self.n_tasks):
            drawn = self._drawn(count, rng)
            index = np.concatenate([left[label].pop() for label in drawn])
            tasks.append(Task(tuple(sorted(set(drawn))), index=index))
        return _Slots(tuple(reversed(tasks)))

    def _drawn(self, count: np.ndarray, rng: np.random.Generator) -> list[int]:
        """Draw the classes of a task, and take a slot of each from those left, ``(n_classes,)``."""
        there = np.flatnonzero(count)
        if len(there) >= self.slots:
            drawn = rng.choice(there, self.slots, replace=False)
            count[drawn] -= 1
            return [int(label) for label in drawn]
        again = []
        for _ in range(self.slots):
            label = int(rng.choice(np.flatnonzero(count)))
            count[label] -= 1
            again.append(label)
        return again

    def _table(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw which class comes in which task, ``(tasks, classes)`` bool, less empty tasks."""
        first = rng.choice(self.n_tasks, n, p=self._first())
        again = rng.permutation(self._recurrence(n))
        number = np.arange(self.n_tasks)[:, None]
        table = rng.random((self.n_tasks, n)) < again
        table = (number == first) | ((number > first) & table)
        return np.asarray(table[table.any(1)])

    def _first(self) -> np.ndarray:
        """Compute the probabilities of the first occurrence, ``(n_tasks,)``."""
        number = np.arange(self.n_tasks)
        weight: np.ndarray = np.ones(self.n_tasks)
        if self.first_occurrence == "geometric":
            weight = (1 - self.first_p) ** number
        elif self.first_occurrence == "zipf":
            weight = (number + 1.0) ** -self.first_exponent
        elif self.first_occurrence == "poisson":
            log = number * math.log(self.first_mu) - [math.lgamma(t + 1) for t in number]
            weight = np.exp(log - log.max())
        return np.asarray(weight / weight.sum())

    def _recurrence(self, n: int) -> np.ndarray:
        """Compute the probabilities of recurrence, ``(n_classes,)``, not yet shuffled."""
        if self.recurrence == "fixed":
            return np.full(n, self.recurrence_p)
        if self.recurrence == "zipf":
            return np.asarray((np.arange(n) + 1.0) ** -self.recurrence_exponent)
        rare = int(round(self.frac * n, 6))
        return np.where(np.arange(n) < rare, self.p_low, self.p_high)


@dataclass(frozen=True)
class _Slots:
    """The tasks of ``mode=slot``, all of which are drawn together."""

    tasks: tuple[Task, ...]

    def __call__(self, t: int) -> Task:
        return self.tasks[t]

    @property
    def n_tasks(self) -> int:
        return len(self.tasks)

    @property
    def disjoint(self) -> bool:
        """Whether no class is in two tasks."""
        every = [label for task in self.tasks for label in task.classes]
        return len(set(every)) == len(every)


@dataclass(frozen=True)
class _Samples:
    """Makes task ``t`` of ``mode=sampling`` from its row of the table and a generator of its own."""

    table: np.ndarray
    """``(tasks, classes)`` bool"""
    members: list[np.ndarray]
    """For each class, its training samples."""
    samples: int
    seed: int

    def __call__(self, t: int) -> Task:
        classes = np.flatnonzero(self.table[t])
        rng = seeding.generator(self.seed, Axis.STREAM, t)
        share, rest = divmod(self.samples, len(classes))
        sizes = np.full(len(classes), share)
        sizes[rng.permutation(len(classes))[:rest]] += 1
        parts = {}
        for label, size in zip(classes.tolist(), sizes.tolist(), strict=True):
            index = self.members[label]
            parts[label] = index[rng.permutation(len(index))[:size]]
        there = tuple(label for label, part in parts.items() if len(part))
        return Task(there, index=np.concatenate(list(parts.values())))

    @property
    def n_tasks(self) -> int:
        return len(self.table)

    @property
    def disjoint(self) -> bool:
        """Whether no class is in two tasks."""
        return bool(self.table.sum(0).max() <= 1)
