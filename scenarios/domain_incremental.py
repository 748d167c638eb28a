"""Domain-incremental: the same classes in every task, each time with another transform.

This is the domain-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734):

- ``permuted``: a fixed pixel permutation per task (Goodfellow et al. 2013, arXiv 1312.6211). The first
  task is not permuted. The stream may be endless. With ``n_tasks=null chunk=1``, and
  ``strategy.batch_size=1``, it is Online Permuted MNIST (Dohare et al. 2024, Nature 632:768): each
  task's images once, in a new order, one at a time.
- ``labels``: a fixed permutation of the labels per task, as in the label-permuted streams of Elsayed &
  Mahmood 2024 (UPGD, arXiv 2404.00781). The first task has the labels of the data. The stream may be
  endless. A sample under another label is another sample: it has another key.
- ``rotated``: angles that are evenly spaced over ``[0, max_degrees]`` (Lopez-Paz & Ranzato 2017 draw
  random ones from [0, 180]).
- ``corrupted``: one corruption of Hendrycks & Dietterich 2019 (arXiv 1903.12261) per task. The first
  task is clean, and there are at most 17 tasks.
- ``split``: no transform. The classes of the data are cut into groups of ``classes_per_task``, one a
  task, and the label is the place within the group. With pairs in the order of the data this is Hsu et
  al. 2018 (arXiv 1810.12488) on MNIST: is the digit even or odd? Each group is a domain, so a cell is
  one class of the data. By default the seed draws the groups, as in ``class_incremental``.
- ``superclasses``: no transform. The label is the super-class, and a task has one class of each; in
  CIFAR-100 these are 5 tasks of 20 labels (CapyMOA's ``DomainCIFAR100``).

Streams of more than 32 domains are evaluated on 32 of them, spread evenly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Annotated, Literal

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.corruptions import KINDS
from clbench.data.transforms import Corrupt, Permute, Rotate, Transform
from clbench.disjoint import classes_of_superclasses
from clbench.orders import order_of, read_order
from clbench.scenario import task_sizes
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class DomainIncremental(Scenario):
    """Delivers the same classes under changing transforms."""

    transform: Literal["permuted", "rotated", "corrupted", "split", "labels", "superclasses"] = (
        "permuted"
    )
    """What differs between domains: a transform of the images, the labels (labels), or the classes
    that the labels stand for (split, superclasses)."""
    n_tasks: Annotated[int | None, AtLeast(1)] = 10
    """Number of tasks, one domain each; null: endless (permuted, labels), or until every class has
    come (split, superclasses), where the stream ends in any case."""
    classes_per_task: Annotated[int | None, AtLeast(2)] = None
    """Classes of the data in a task of transform=split; null: 2. The last task may have fewer."""
    class_order: tuple[str, ...] = ("seed",)
    """Order in which transform=split and superclasses take the classes. seed: drawn from the seed;
    data: by label; 1993: the order of the class-incremental literature; [2,0,1] or FILE: these
    labels, each once."""
    domain_order: tuple[str, ...] = ("data",)
    """Order in which the domains of transform=rotated and corrupted come. data: by angle, or as in the
    list of corruptions; seed, 1993, [2,0,1] or FILE: as for class_order, of the numbers of domains."""
    max_degrees: Annotated[float, Within(0, 360, open_low=True)] = 180.0
    """Angle of the last task of transform=rotated, in degrees."""
    severity: Annotated[int, Within(1, 5)] = 3
    """Strength of transform=corrupted, 1 to 5."""
    share: Annotated[float, Within(0, 1, open_low=True)] = 1.0
    """Share of the samples that a task delivers, drawn again for each task."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def without_effect(self) -> dict[str, str]:
        """What is of one transform alone."""
        own = {"max_degrees": "rotated", "severity": "corrupted"}
        here = f"scenario.transform={self.transform}"
        idle = {name: here for name, of in own.items() if of != self.transform}
        return super().without_effect() | idle

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("class_order", "domain_order"):
            order = read_order(getattr(self, name), f"scenario.{name}")
            object.__setattr__(self, name, order)
        if self.n_tasks is None and self.transform in ("rotated", "corrupted"):
            raise UsageError(
                f"scenario.n_tasks=null: scenario.transform={self.transform} is not endless; say how "
                "many domains there are, or choose permuted or labels"
            )
        for name, default, meant in (
            ("classes_per_task", None, ("split",)),
            ("class_order", ("seed",), ("split", "superclasses")),
            ("domain_order", ("data",), ("rotated", "corrupted")),
        ):
            value = getattr(self, name)
            if value != default and self.transform not in meant:
                shown = ",".join(value) if isinstance(value, tuple) else value
                raise UsageError(
                    f"scenario.{name}={shown[:40] if isinstance(shown, str) else shown} needs "
                    f"scenario.transform={' or '.join(meant)}"
                )
        if self.transform == "corrupted" and (self.n_tasks or 0) > len(KINDS):
            raise UsageError(f"scenario.n_tasks={self.n_tasks}: corrupted has {len(KINDS)} domains")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. Task t is domain t, or the t-th of ``domain_order``."""
        if self.transform in ("split", "superclasses"):
            return self._groups(pool, seed)
        every = tuple(range(pool.n_classes))
        if self.transform == "labels":
            return Stream(
                pool=pool,
                seed=seed,
                plan=lambda t: Task(every, domain=t, variant=t),
                n_tasks=self.n_tasks,
                labels=every,
                chunk=self.chunk,
                share=self.share,
                n_domains=self.n_tasks,
                relabel=_permutations(pool.n_classes, seed),
            )
        order = self._domains(seed)
        return Stream(
            pool=pool,
            seed=seed,
            plan=lambda t: Task(every, domain=order(t), transform=order(t), variant=order(t)),
            n_tasks=self.n_tasks,
            labels=every,
            chunk=self.chunk,
            share=self.share,
            transform=self._transform(pool, seed),
            n_domains=self.n_tasks,
        )

    def _domains(self, seed: int) -> Callable[[int], int]:
        """Return a function from tasks to domains."""
        if self.domain_order == ("data",) or self.n_tasks is None:
            return int
        there = f"there are {self.n_tasks} domains"
        order = order_of(self.domain_order, self.n_tasks, seed, "scenario.domain_order", there)
        return order.__getitem__

    def _groups(self, pool: Pool, seed: int) -> Stream:
        """Give each domain classes of its own; label c of a domain is the c-th of them."""
        there = f"the data have {pool.n_classes} classes"
        order = order_of(self.class_order, pool.n_classes, seed, "scenario.class_order", there)
        if self.transform == "superclasses":
            groups = _one_of_each(pool, order)
        else:
            sizes = task_sizes(pool.n_classes, None, self.classes_per_task or 2)
            ends = pairwise(accumulate(sizes, initial=0))
            groups = [tuple(sorted(order[start:stop])) for start, stop in ends]
        labels = tuple(groups[: self.n_tasks])
        return Stream(
            pool=pool,
            seed=seed,
            plan=lambda t: Task(tuple(range(len(labels[t]))), domain=t),
            n_tasks=len(labels),
            labels=labels[0],
            labels_in=labels,
            chunk=self.chunk,
            share=self.share,
            n_domains=len(labels),
        )

    def _transform(self, pool: Pool, seed: int) -> Transform:
        if self.transform == "permuted":
            return Permute(seeding.integer(seed, Axis.STREAM), self.n_tasks)
        assert self.n_tasks is not None
        if self.transform == "rotated":
            steps = max(1, self.n_tasks - 1)
            angles = tuple(self.max_degrees * t / steps for t in range(self.n_tasks))
            return Rotate(angles)
        return Corrupt(tuple(KINDS)[: self.n_tasks], self.severity, pool.raw.scale)


def _permutations(n: int, seed: int) -> Callable[[int], np.ndarray]:
    """Return a function from domains to permutations of the labels; the first changes nothing."""

    @lru_cache(maxsize=64)  # a task asks for its own once for each class
    def permutation(domain: int) -> np.ndarray:
        if domain == 0:
            return np.arange(n)
        return seeding.generator(seed, Axis.STREAM, domain).permutation(n)

    return permutation


def _one_of_each(pool: Pool, order: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Give domain d the d-th class of each super-class, in the order given.

    Raises:
        UsageError: there are no super-classes, or they have unequal numbers of classes.
    """
    members = classes_of_superclasses(pool, "scenario.transform=superclasses")
    if len({len(classes) for classes in members}) > 1:
        raise UsageError(
            "scenario.transform=superclasses: each super-class must have as many classes as the others"
        )
    place = {label: at for at, label in enumerate(order)}
    inner = [sorted(classes, key=place.__getitem__) for classes in members]
    return [tuple(classes[d] for classes in inner) for d in range(len(inner[0]))]
