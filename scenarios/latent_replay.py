"""Latent replay: few tasks on the latents of a frozen encoder, in the fixed orders of a study.

Ostapenko et al. 2022, "Continual Learning with Foundation Models: An Empirical Study of Latent
Replay" (CoLLAs; arXiv 2205.00329). Its streams are class-incremental. The N classes are cut, by
ascending label, into T blocks of N // T (the first N mod T of them have one more). A task is a block,
and a run has one of several fixed orders of the blocks. There is one head and no task identity.
Samples are encoded once, before training, by ``encoder=``. This scenario only recommends an encoder
(``encoder=none`` runs on raw samples).

``protocol`` selects another stream: ``scole`` and ``domain_incremental`` are the scenarios of those
names, with their defaults for all settings that are not listed here (``scenario=scole encoder=...``
has all of them). For a stream over several data sets, one for each task, set
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
from typing import Annotated, ClassVar, Literal

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.plugins.registry import find
from clbench.seeding import Axis
from clbench.settings import AtLeast

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
"""The seed of the k shots. A run's seed does not change them."""


@dataclass(frozen=True)
class LatentReplay(Scenario):
    """Delivers class blocks in fixed orders, or another protocol's tasks, on latents."""

    recommended: ClassVar[Mapping[str, object]] = MappingProxyType(
        {"data": "mnist5k", "encoder": "efficientnet_lite0"}
    )

    protocol: Literal["class_incremental", "scole", "domain_incremental"] = "class_incremental"
    """Which classes come when: in blocks, or as in scenario=scole or scenario=domain_incremental."""
    n_tasks: Annotated[int | None, AtLeast(1)] = 5
    """Number of tasks. null, for class_incremental: one for each data set of data=joined, else it
    follows from classes_per_task; for the others: endless. 1: the i.i.d. reference."""
    classes_per_task: Annotated[int | None, AtLeast(1)] = None
    """Classes in a task of scole (null: 2), and of class_incremental if n_tasks is null."""
    task_order: Annotated[int | None, AtLeast(0)] = None
    """Number of the study's order (for 4, 5 or 6 tasks); null: the seed modulo the number of orders,
    or an order drawn from the seed for other numbers of tasks. For class_incremental."""
    shots: Annotated[int | None, AtLeast(1)] = None
    """Learn from this many samples of each class, the first of a shuffle that is the same for every
    seed; null: all."""
    transform: Literal["permuted", "rotated", "corrupted"] = "permuted"
    """The transform that differs between domains, for domain_incremental."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def without_effect(self) -> dict[str, str]:
        """What is of one protocol alone."""
        idle = () if self.protocol == "domain_incremental" else ("transform",)
        return super().without_effect() | dict.fromkeys(idle, f"scenario.protocol={self.protocol}")

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks = self.protocol == "class_incremental"
        if self.task_order is not None and not blocks:
            raise UsageError(
                f"scenario.task_order has no effect with scenario.protocol={self.protocol}"
            )
        if self.classes_per_task is not None and self.protocol == "domain_incremental":
            raise UsageError("scenario.classes_per_task: a domain has all classes; drop it")
        if self.classes_per_task is not None and blocks and self.n_tasks is not None:
            raise UsageError(
                f"scenario.n_tasks={self.n_tasks} says how many classes a task has; "
                "set scenario.n_tasks=null, or drop scenario.classes_per_task"
            )

    def files(self) -> tuple[Path, ...]:
        """List the source of the scenario that ``protocol`` names."""
        if self.protocol == "class_incremental":
            return ()
        return (find("scenario", self.protocol).path,)

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool of latents or of raw samples."""
        if self.protocol == "class_incremental":
            stream = self._blocks(pool, seed)
        else:
            stream = self._base().stream(pool, seed)
        if self.shots is None:
            return stream
        return replace(stream, plan=_FewShot(stream.plan, _shots(stream, self.shots)))

    def _base(self) -> Scenario:
        """Make the scenario that ``protocol`` names, with the settings of this one."""
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
        """Compute the number of classes of each block."""
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
    """Limits each task of another plan to k samples of each of its classes."""

    plan: Callable[[int], Task]
    members: tuple[np.ndarray, ...]
    """``(k,)`` training samples of the pool for each class of the stream."""

    def __call__(self, t: int) -> Task:
        task = self.plan(t)
        return replace(task, index=np.concatenate([self.members[c] for c in task.classes]))


def _shots(stream: Stream, k: int) -> tuple[np.ndarray, ...]:
    """Draw k samples of each class, by a generator whose seed depends on the class's label only."""
    of = stream.pool.labels("train")
    members = []
    for label in stream.labels:
        there = np.flatnonzero(of == label)
        if k > len(there):
            raise UsageError(f"scenario.shots={k}: class {label} has {len(there)} samples")
        members.append(np.random.default_rng((SHOTS_SEED, label)).permutation(there)[:k])
    return tuple(members)
