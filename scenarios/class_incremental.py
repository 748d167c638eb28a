"""Class-incremental: disjoint tasks in which every class comes once, one head, no task identity.

This is the class-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734). By default the
seed draws the order of the classes; if they do not divide evenly, the first tasks have one more. The
protocols of the class-incremental literature, with a base task, a fixed order, few shots or a long
tail, are settings: see ``clbench.disjoint``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from clbench import Pool, Stream
from clbench.disjoint import DisjointClasses
from clbench.settings import AtLeast


@dataclass(frozen=True)
class ClassIncremental(DisjointClasses):
    """Delivers disjoint classes to one head."""

    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. It ends when every class has come."""
        tasks = self.tasks(pool, seed)
        return Stream(
            pool=pool,
            seed=seed,
            plan=tasks.__getitem__,
            n_tasks=len(tasks),
            labels=tuple(range(pool.n_classes)),
            chunk=self.chunk,
            disjoint=True,
        )
