"""Domain-incremental: the same classes in every task, each time with another transform.

This is the domain-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734):

- ``permuted``: a fixed pixel permutation per task (Goodfellow et al. 2013, arXiv 1312.6211). The first
  task is not permuted. The stream may be endless. With ``n_tasks=null chunk=1``, and
  ``strategy.batch_size=1``, it is Online Permuted MNIST (Dohare et al. 2024, Nature 632:768): each
  task's images once, in a new order, one at a time.
- ``rotated``: angles that are evenly spaced over ``[0, max_degrees]`` (Lopez-Paz & Ranzato 2017 draw
  random ones from [0, 180]).
- ``corrupted``: one corruption of Hendrycks & Dietterich 2019 (arXiv 1903.12261) per task. The first
  task is clean, and there are at most 17 tasks.
- ``split``: no transform. The classes of the data are cut into groups of ``classes_per_task``, one a
  task, and the label is the place within the group. With pairs in the order of the data this is Hsu et
  al. 2018 (arXiv 1810.12488) on MNIST: is the digit even or odd? Each group is a domain, so a cell is
  one class of the data. By default the seed draws the groups, as in ``class_incremental``.

Streams of more than 32 domains are evaluated on 32 of them, spread evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.corruptions import KINDS
from clbench.data.transforms import Corrupt, Permute, Rotate, Transform
from clbench.scenario import split_classes
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class DomainIncremental(Scenario):
    """Delivers the same classes under changing transforms."""

    transform: Literal["permuted", "rotated", "corrupted", "split"] = "permuted"
    """What differs between domains: a transform, or (split) the classes that the labels stand for."""
    n_tasks: Annotated[int | None, AtLeast(1)] = 10
    """Number of tasks, one domain each; null: endless (permuted), or all groups (split). A split
    stream ends earlier if every class has come."""
    classes_per_task: Annotated[int | None, AtLeast(2)] = None
    """Classes of the data in a task of transform=split; null: 2. The last task may have fewer."""
    class_order: Literal["seeded", "data"] = "seeded"
    """Order in which transform=split takes the classes: drawn from the seed, or that of the data."""
    max_degrees: Annotated[float, Within(0, 360, open_low=True)] = 180.0
    """Angle of the last task of transform=rotated, in degrees."""
    severity: Annotated[int, Within(1, 5)] = 3
    """Strength of transform=corrupted, 1 to 5."""
    share: Annotated[float, Within(0, 1, open_low=True)] = 1.0
    """Share of the samples that a task delivers, drawn again for each task."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_tasks is None and self.transform not in ("permuted", "split"):
            raise UsageError("scenario.n_tasks=null: only scenario.transform=permuted is endless")
        if self.transform != "split":
            for name, default in (("classes_per_task", None), ("class_order", "seeded")):
                value = getattr(self, name)
                if value != default:
                    raise UsageError(f"scenario.{name}={value} needs scenario.transform=split")
        if self.transform == "corrupted" and (self.n_tasks or 0) > len(KINDS):
            raise UsageError(f"scenario.n_tasks={self.n_tasks}: corrupted has {len(KINDS)} domains")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. Task t is domain t."""
        if self.transform == "split":
            return self._split(pool, seed)
        every = tuple(range(pool.n_classes))
        return Stream(
            pool=pool,
            seed=seed,
            plan=lambda t: Task(every, domain=t, transform=t, variant=t),
            n_tasks=self.n_tasks,
            labels=every,
            chunk=self.chunk,
            share=self.share,
            transform=self._transform(pool, seed),
            n_domains=self.n_tasks,
        )

    def _split(self, pool: Pool, seed: int) -> Stream:
        """Cut the classes into groups; class c of a task is the c-th of its group."""
        order = seed if self.class_order == "seeded" else None
        per_task = self.classes_per_task or 2
        groups = split_classes(pool.n_classes, None, per_task, order)[: self.n_tasks]
        labels = tuple(group.classes for group in groups)
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
