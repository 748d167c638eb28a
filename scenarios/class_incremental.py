"""Class-incremental: disjoint tasks in which every class comes once, one head, no task identity.

This is the class-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734). The seed draws
the order of the classes. If they do not divide evenly, the first tasks have one more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from clbench import Pool, Scenario, Stream
from clbench.scenario import split_classes
from clbench.settings import AtLeast


@dataclass(frozen=True)
class ClassIncremental(Scenario):
    """Delivers disjoint classes to one head."""

    n_tasks: Annotated[int | None, AtLeast(1)] = None
    """Number of tasks; null: it follows from classes_per_task."""
    classes_per_task: Annotated[int | None, AtLeast(1)] = None
    """Classes in a task; null: it follows from n_tasks, or is 2 if that is null too."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. It ends when every class has come."""
        tasks = split_classes(pool.n_classes, self.n_tasks, self.classes_per_task, seed)
        return Stream(
            pool=pool,
            seed=seed,
            plan=tasks.__getitem__,
            n_tasks=len(tasks),
            labels=tuple(range(pool.n_classes)),
            chunk=self.chunk,
            disjoint=True,
        )
