"""Streams: what a scenario yields, as a pure function of (settings, seed, t).

A scenario gives a ``plan``: the classes and the domain of each task ``t``. The stream turns it into
experiences (whole tasks, or chunks of tasks) and into the test samples that are evaluated.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from clbench import seeding
from clbench.data.pool import Pool
from clbench.data.rows import Rows
from clbench.data.transforms import Transform
from clbench.labels import Labelling, opaque
from clbench.seeding import Axis
from clbench.task_data import TaskData as TaskData
from clbench.world import Cell, World, build_world

PROBED_DOMAINS = 32
"""The largest number of domains that are evaluated; a stream with more is evaluated on this many."""


@dataclass(frozen=True)
class Task:
    """Describes one task: its classes, its domain and its transform. It holds no samples."""

    classes: tuple[int, ...]
    """Its classes (stream labels), ascending; it has all their training samples without ``index``."""
    domain: int | None = 0
    """The domain it is evaluated in; None: in all of them."""
    transform: int | None = None
    """The number of the transform that its training samples get; None: they stay raw."""
    variant: int = 0
    """Part of the sample identity: equal for two tasks iff their transformed samples are equal, and
    so are their labels."""
    index: np.ndarray | None = None
    """``(n,)`` int64: its training samples in the pool; None: all samples of its classes."""
    attribute: np.ndarray | None = None
    """``(n,)`` int64, with ``index``: the transform of each sample; None: one transform for all.

    It replaces ``variant`` too, so these transforms must be deterministic.
    """

    def __post_init__(self) -> None:
        if self.attribute is None:
            return
        if self.index is None or self.index.shape != self.attribute.shape:
            raise ValueError("Task.attribute must have as many values as Task.index")
        if self.transform is not None or self.variant:
            raise ValueError("Task.attribute takes the place of Task.transform and Task.variant")


@dataclass(frozen=True)
class Draw:
    """One experience as indices in host memory, before its samples are gathered."""

    number: int
    task: int
    plan: Task
    index: np.ndarray
    """``(n,)`` int64 into the pool's training split, in delivery order."""
    labels: np.ndarray
    """``(n,)`` int64 stream labels, as the learner gets them; -1 where they are withheld."""
    right: np.ndarray
    """``(n,)`` int64 stream labels before noise."""
    keys: np.ndarray
    """``(n,)`` int64 opaque identities."""
    ends_task: bool
    attribute: np.ndarray | None = None
    """``(n,)`` int64: the transform of each sample; None: the plan's transform, if any, for all."""

    @property
    def transforms(self) -> tuple[int, ...]:
        """The transforms that its samples get, ascending; empty if they stay raw."""
        if self.attribute is not None:
            return tuple(int(a) for a in np.unique(self.attribute))
        return () if self.plan.transform is None else (self.plan.transform,)


@dataclass(frozen=True)
class Stream:
    """A sequence of tasks over one pool, with the test samples it is evaluated on."""

    pool: Pool
    seed: int
    plan: Callable[[int], Task]
    """Task ``t`` as a function of ``t`` alone (and of the scenario's settings and the seed)."""
    n_tasks: int | None
    """None: endless."""
    labels: tuple[int, ...]
    """The pool's label of each stream class ``0..n_classes-1``; the world holds exactly these."""
    chunk: int | None = None
    """Deliver tasks in experiences of this many samples and hide the boundaries."""
    share: float = 1.0
    """The share of a task's samples that is delivered, drawn again for every task."""
    transform: Transform | None = None
    n_domains: int | None = 1
    """The number of domains; None: each task of an endless stream has its own."""
    task_ids: bool = False
    """Whether the learner is given task ids, in training and in prediction."""
    disjoint: bool = False
    """Whether no class occurs in two tasks."""
    groups: bool = False
    """Whether cells are groups (a class with an attribute), whose worst accuracy is reported."""
    labels_in: tuple[tuple[int, ...], ...] | None = None
    """Where a class stands for other labels of the pool in each domain: for each domain its labels by
    class, and ``labels`` are those of the first. A domain may have fewer classes than the first. No
    label is in two domains, so every task has a domain."""
    relabel: Callable[[int], np.ndarray] | None = None
    """Where the same classes go by other labels in each domain: for a domain, ``(n_classes,)`` int64,
    the label of each class. It is a permutation, and every task has a domain."""
    labelling: Labelling | None = None
    """Which labels of training samples are wrong or withheld; None: none."""

    def __post_init__(self) -> None:
        if self.transform is not None:
            self.transform.check(self.pool.raw.input_shape)

    @property
    def n_classes(self) -> int:
        """The number of classes that the learner predicts."""
        return len(self.labels)

    @cached_property
    def _stream_label(self) -> np.ndarray:
        table = np.full(self.pool.n_classes, -1, dtype=np.int64)
        for labels in self.labels_in or (self.labels,):
            table[list(labels)] = np.arange(len(labels))
        return table

    @cached_property
    def _members(self) -> dict[int, np.ndarray]:
        """For each pool label of the stream, its training samples in pool order."""
        of = self.pool.labels("train")
        return {label: np.flatnonzero(of == label) for label in self.pool_labels}

    def pool_label(self, label: int, domain: int | None) -> int:
        """The pool's label of a stream class in a domain."""
        if self.relabel is not None:
            assert domain is not None
            label = int(np.flatnonzero(self.relabel(domain) == label)[0])
        if self.labels_in is None:
            return self.labels[label]
        assert domain is not None
        return self.labels_in[domain][label]

    @property
    def pool_labels(self) -> tuple[int, ...]:
        """All pool labels of the stream, domain by domain."""
        return self.labels if self.labels_in is None else sum(self.labels_in, ())

    def label_choices(self, task: Task) -> np.ndarray:
        """``(k,)`` int64 ascending: the classes that a wrong label of a task is taken from.

        They are the task's own where a class stays in its task, and all classes of the stream else, so
        that a sample which comes again keeps its label.
        """
        stays = self.disjoint or self.task_ids or self.labels_in is not None
        return np.array(task.classes if stays else range(self.n_classes), dtype=np.int64)

    def _samples_of(self, task: Task) -> list[np.ndarray]:
        """For each class of a task, its training samples in pool order."""
        return [self._members[self.pool_label(c, task.domain)] for c in task.classes]

    @cached_property
    def _experiences_before(self) -> list[int]:
        """Experiences before each task, as far as anyone has asked (only where tasks are cut)."""
        return [0]

    def task_size(self, task: Task) -> int:
        """The number of samples that a task delivers."""
        parts = self._samples_of(task) if task.index is None else [task.index]
        total = sum(map(len, parts))
        return max(1, round(self.share * total))

    def locate(self, number: int) -> tuple[int, int]:
        """Experience ``number`` as (task, chunk of the task)."""
        if self.chunk is None:
            return number, 0
        before = self._experiences_before
        while before[-1] <= number:
            before.append(before[-1] + -(-self.task_size(self.plan(len(before) - 1)) // self.chunk))
        task = bisect_right(before, number) - 1
        return task, number - before[task]

    def n_experiences(self, n_tasks: int) -> int:
        """The number of experiences in which the first ``n_tasks`` tasks are delivered."""
        if self.chunk is None:
            return n_tasks
        before = self._experiences_before
        while len(before) <= n_tasks:
            self.locate(before[-1])
        return before[n_tasks]

    def _shuffled(self, t: int) -> tuple[Task, np.ndarray, np.ndarray]:
        """Task ``t``, its samples in the pool, and the order in which it delivers them.

        Where tasks are cut, the last one is kept, so that a task costs as much in small chunks as in
        large ones.
        """
        if t in self._latest:
            return self._latest[t]
        plan = self.plan(t)
        members = plan.index
        if members is None:
            members = np.concatenate(self._samples_of(plan))
        rng = seeding.generator(self.seed, Axis.TASK, t)
        found = plan, members, rng.permutation(len(members))[: self.task_size(plan)]
        if self.chunk is not None:
            self._latest.clear()
            self._latest[t] = found
        return found

    @cached_property
    def _latest(self) -> dict[int, tuple[Task, np.ndarray, np.ndarray]]:
        """The task that was drawn last, by its number (only where tasks are cut)."""
        return {}

    def draw(self, number: int) -> Draw:
        """The indices of the samples that experience ``number`` delivers, in order. Reads no sample."""
        t, chunk = self.locate(number)
        plan, members, order = self._shuffled(t)
        ends = True
        if self.chunk is not None:
            ends = (chunk + 1) * self.chunk >= len(order)
            order = order[chunk * self.chunk : (chunk + 1) * self.chunk]
        index = members[order]
        labels = self._stream_label[self.pool.labels("train")[index]]
        if self.relabel is not None:
            assert plan.domain is not None
            labels = self.relabel(plan.domain)[labels]
        attribute = None if plan.attribute is None else plan.attribute[order]
        variant = plan.variant if attribute is None else attribute
        keys = opaque(index + variant * self.pool.size("train"), self._key_seed)
        right = labels
        if self.labelling is not None:
            labels = self.labelling(labels, keys, self.label_choices(plan), self.seed)
        return Draw(number, t, plan, index, labels, right, keys, ends, attribute)

    @cached_property
    def _key_seed(self) -> int:
        return seeding.integer(self.seed, Axis.KEY)

    def gather(self, draw: Draw) -> TaskData:
        """Gather the samples of a draw on the device."""
        device = self.pool.device
        x: Tensor | Rows
        if self.transform is None or not draw.transforms:
            rows = self.pool.rows("train", draw.index)
            x = self.pool.gather("train", draw.index) if rows is None else rows
        else:
            x = self.pool.changed("train", draw.index, partial(self._transformed, draw=draw))
        y = torch.as_tensor(draw.labels, device=device)
        known = self.chunk is None
        return TaskData(
            x=cast(Tensor, x),
            y=y,
            key=torch.as_tensor(draw.keys, device=device),
            task_id=torch.full_like(y, draw.task) if self.task_ids else None,
            classes=torch.tensor(draw.plan.classes, device=device) if known else None,
            ends_task=draw.ends_task if known else None,
            shuffle_seed=seeding.integer(self.seed, Axis.SHUFFLE, draw.number),
        )

    def _transformed(self, x: Tensor, draw: Draw) -> Tensor:
        assert self.transform is not None
        noise = seeding.torch_generator(self.seed, Axis.TRANSFORM, draw.number)
        if draw.attribute is None:
            return self.transform.bound("train", draw.index)(x, draw.transforms[0], noise)
        out = torch.empty_like(x)
        for number in draw.transforms:
            which = np.flatnonzero(draw.attribute == number)
            rows = torch.as_tensor(which, device=x.device)
            transform = self.transform.bound("train", draw.index[which])
            out.index_copy_(0, rows, transform(x.index_select(0, rows), number, noise))
        return out

    def experience(self, number: int) -> TaskData:
        """The samples of experience ``number``."""
        return self.gather(self.draw(number))

    @property
    def sha256(self) -> str:
        """The initial hash of the stream, from the pool's hash. Each delivered draw extends it."""
        return hashlib.sha256(f"clbench stream {self.pool.sha256}".encode()).hexdigest()

    def extend(self, sha256: str, draw: Draw) -> str:
        """Extend the stream's hash by a draw: by its keys, labels and transform parameters."""
        digest = hashlib.sha256(sha256.encode())
        digest.update(draw.keys.data)
        digest.update(draw.labels.data)
        if draw.attribute is not None:
            digest.update(draw.attribute.data)
        if self.transform is not None:
            for number in draw.transforms:
                digest.update(self.transform.describe(number).encode())
        return digest.hexdigest()

    @cached_property
    def domains(self) -> tuple[int, ...]:
        """The domains that are evaluated: all, or a fixed set spread evenly over the stream."""
        if self.n_domains is None:
            return tuple(range(PROBED_DOMAINS))
        if self.n_domains <= PROBED_DOMAINS:
            return tuple(range(self.n_domains))
        spread = np.linspace(0, self.n_domains - 1, PROBED_DOMAINS)
        return tuple(int(d) for d in np.unique(spread.round()))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that are scored: one for each class and domain and, with task ids, each task."""
        if not self.task_ids:
            classes = [len(labels) for labels in self.labels_in or ()]
            n_classes = {d: classes[d] if classes else self.n_classes for d in self.domains}
            return tuple(Cell(c, d) for d in self.domains for c in range(n_classes[d]))
        if self.n_tasks is None:
            raise ValueError("a stream that gives task ids must have an end")
        tasks = ((t, self.plan(t)) for t in range(self.n_tasks))
        cells = [Cell(c, d, t) for t, task in tasks for d in self._in(task) for c in task.classes]
        return tuple(sorted(cells, key=lambda cell: cell.domain))

    @cached_property
    def _cell_number(self) -> dict[Cell, int]:
        return {cell: number for number, cell in enumerate(self.cells)}

    def _in(self, task: Task) -> tuple[int, ...]:
        """The domains that a task is evaluated in."""
        return self.domains if task.domain is None else (task.domain,)

    def view(self, t: int) -> tuple[int, ...] | None:
        """The cells that task ``t`` is scored on; None if its domain is not evaluated."""
        plan = self.plan(t)
        given = t if self.task_ids else None
        wanted = [Cell(c, d, given) for d in self._in(plan) for c in plan.classes]
        cells = [self._cell_number.get(cell) for cell in wanted]
        return None if None in cells else tuple(c for c in cells if c is not None)

    @property
    def tested_as_transformed(self) -> bool:
        """Whether test samples are transformed as their domain is.

        They are not where a stream of one domain takes it from a transform of many: such a stream
        changes what is learnt from and is tested on clean samples (corruptions of scole).
        """
        return self.transform is not None and (
            self.domains != (0,) or self.transform.n_domains == 1
        )

    def world(self) -> World:
        """The test samples of every cell, on the device, in one fixed mixed order."""
        return build_world(
            self.pool,
            self.cells,
            tuple(self.pool_label(cell.label, cell.domain) for cell in self.cells),
            self.n_classes,
            self.transform if self.tested_as_transformed else None,
            self.seed,
        )
