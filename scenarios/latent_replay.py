"""Latent replay: few tasks on the latents of a frozen encoder, in the fixed orders of the study.

Ostapenko et al. 2022, "Continual Learning with Foundation Models: An Empirical Study of Latent
Replay" (CoLLAs; arXiv 2205.00329). Its streams are class-incremental: the N classes are cut, by
ascending label, into T blocks of N // T (the first N mod T of them one more), a task is a block, and
a run has one of some fixed orders of the blocks; one head, no task identity. Samples are encoded
once, before anything is learnt, which is what ``encoder=`` does; the encoder here is only recommended
(``encoder=none`` runs on raw samples).

``protocol`` puts another stream under the same name: ``scole`` and ``domain_incremental`` are the
scenarios of those names with their defaults but for the settings here (all of their knobs:
``scenario=scole encoder=...``). A stream over several data sets, one a task:
``data=joined scenario.n_tasks=null``.

Deviations: seed s takes order s modulo the number of orders, so that seeds 0 to 4 are the five runs
that the study averages (its code has a sixth order); k shots are drawn by our generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.plugins.registry import find
from clbench.scenario import at_least
from clbench.seeding import Axis

ORDERS = {
    4: ((0, 1, 2, 3), (2, 3, 0, 1), (3, 2, 1, 0), (3, 0, 1, 2)),
    5: (
        (0, 1, 2, 3, 4),
        (2, 3, 4, 0, 1),
        (3, 2, 1, 4, 0),
        (3, 4, 0, 1, 2),
        (2, 3, 4, 1, 0),
        (0, 3, 4, 2, 1),
    ),
    6: (
        (0, 1, 2, 3, 4, 5),
        (2, 3, 4, 0, 1, 5),
        (5, 3, 2, 1, 4, 0),
        (3, 4, 0, 1, 2, 5),
        (2, 3, 4, 5, 1, 0),
        (0, 5, 3, 4, 2, 1),
    ),
}
"""The study's orders of T blocks."""
SHOTS_SEED = 1
"""Of the k shots, which no run's seed changes."""


@dataclass(frozen=True)
class LatentReplay(Scenario):
    """Class blocks in fixed orders, or another protocol, on latents."""

    recommended: ClassVar[Mapping[str, object]] = MappingProxyType(
        {"data": "mnist5k", "encoder": "efficientnet_lite0"}
    )

    protocol: Literal["class_incremental", "scole", "domain_incremental"] = "class_incremental"
    """Which classes come when: blocks of them, or as scenario=scole or domain_incremental has it."""
    n_tasks: int | None = 5
    """Number of tasks. null, of class_incremental: a task for each data set of data=joined, else
    as classes_per_task gives; of the others: endless. 1: the i.i.d. reference."""
    classes_per_task: int | None = None
    """Classes in a task of scole (null: 2), and of class_incremental where n_tasks is null."""
    task_order: int | None = None
    """Which of the study's orders (of 4, 5 or 6 tasks); null: the seed modulo their number, for
    other numbers of tasks an order drawn from the seed. Of class_incremental."""
    shots: int | None = None
    """Learn from so many samples of each class, the first of a shuffle that is the same for every
    seed; null: all."""
    transform: Literal["permuted", "rotated", "corrupted"] = "permuted"
    """What makes a domain of domain_incremental."""
    chunk: int | None = None
    """Deliver tasks in pieces of so many samples and hide their boundaries (online learning)."""

    def __post_init__(self) -> None:
        at_least(1, self, "n_tasks", "classes_per_task", "shots", "chunk")
        at_least(0, self, "task_order")
        blocks = self.protocol == "class_incremental"
        if self.task_order is not None and not blocks:
            raise UsageError(f"scenario.task_order is not of scenario.protocol={self.protocol}")
        if self.classes_per_task is not None and self.protocol == "domain_incremental":
            raise UsageError("scenario.classes_per_task: a domain has all classes; drop it")
        if self.classes_per_task is not None and blocks and self.n_tasks is not None:
            raise UsageError(
                f"scenario.n_tasks={self.n_tasks} says how many classes a task has; "
                "set scenario.n_tasks=null, or drop scenario.classes_per_task"
            )

    def files(self) -> tuple[Path, ...]:
        """The base protocol's source."""
        if self.protocol == "class_incremental":
            return ()
        return (find("scenario", self.protocol).path,)

    def stream(self, pool: Pool, seed: int) -> Stream:
        """The stream over a pool of latents or of raw samples."""
        if self.protocol == "class_incremental":
            stream = self._blocks(pool, seed)
        else:
            stream = self._base().stream(pool, seed)
        if self.shots is None:
            return stream
        return replace(stream, plan=_FewShot(stream.plan, _shots(stream, self.shots)))

    def _base(self) -> Scenario:
        """The scenario that the protocol is named after, with the settings given here."""
        cls: Callable[..., Scenario] = find("scenario", self.protocol).load()
        if self.protocol == "domain_incremental":
            return cls(n_tasks=self.n_tasks, transform=self.transform, chunk=self.chunk)
        per_task = 2 if self.classes_per_task is None else self.classes_per_task
        return cls(n_tasks=self.n_tasks, classes_per_task=per_task, chunk=self.chunk)

    def _blocks(self, pool: Pool, seed: int) -> Stream:
        sizes = self._sizes(pool)
        ends = pairwise(accumulate(sizes, initial=0))
        blocks = [Task(tuple(range(start, stop))) for start, stop in ends]
        tasks = [blocks[number] for number in self._order(len(blocks), seed)]
        return Stream(
            pool=pool,
            seed=seed,
            plan=tasks.__getitem__,
            n_tasks=len(tasks),
            labels=tuple(range(pool.n_classes)),
            chunk=self.chunk,
            disjoint=True,
        )

    def _sizes(self, pool: Pool) -> tuple[int, ...]:
        """How many classes each block has."""
        n, n_tasks = pool.n_classes, self.n_tasks
        if n_tasks is None and self.classes_per_task is None and pool.parts:
            return pool.parts
        if n_tasks is None:
            per_task = min(2, n) if self.classes_per_task is None else self.classes_per_task
            if per_task > n:
                raise UsageError(f"scenario.classes_per_task={per_task}: the data have {n} classes")
            n_tasks = -(-n // per_task)
        if n_tasks > n:
            raise UsageError(f"scenario.n_tasks={n_tasks}: the data have {n} classes")
        return tuple(n // n_tasks + (block < n % n_tasks) for block in range(n_tasks))

    def _order(self, n_blocks: int, seed: int) -> tuple[int, ...]:
        orders = ORDERS.get(n_blocks, ())
        if self.task_order is None:
            if orders:
                return orders[seed % len(orders)]
            drawn = seeding.generator(seed, Axis.STREAM).permutation(n_blocks)
            return tuple(int(block) for block in drawn)
        if self.task_order >= len(orders):
            has = f"{len(orders)} orders, from 0" if orders else "no fixed order: drop it"
            raise UsageError(
                f"scenario.task_order={self.task_order}: the study has, of {n_blocks} tasks, {has}"
            )
        return orders[self.task_order]


@dataclass(frozen=True)
class _FewShot:
    """Task ``t`` of another plan with k samples of each of its classes."""

    plan: Callable[[int], Task]
    members: tuple[np.ndarray, ...]
    """For each class of the stream, ``(k,)`` training samples of the pool."""

    def __call__(self, t: int) -> Task:
        task = self.plan(t)
        return replace(task, index=np.concatenate([self.members[c] for c in task.classes]))


def _shots(stream: Stream, k: int) -> tuple[np.ndarray, ...]:
    """The first k of each class, shuffled by a generator that only the class's label seeds."""
    of = stream.pool.labels("train")
    members = []
    for label in stream.labels:
        there = np.flatnonzero(of == label)
        if k > len(there):
            raise UsageError(f"scenario.shots={k}: class {label} has {len(there)} samples")
        members.append(np.random.default_rng((SHOTS_SEED, label)).permutation(there)[:k])
    return tuple(members)
