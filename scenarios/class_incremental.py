"""Class-incremental: every class comes once, in disjoint tasks, with one head and no task identity.

The class-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734). Classes come in an
order drawn from the seed; where they do not divide evenly the first tasks get one more.
"""

from __future__ import annotations

from dataclasses import dataclass

from clbench import Pool, Scenario, Stream
from clbench.scenario import at_least, split_classes


@dataclass(frozen=True)
class ClassIncremental(Scenario):
    """Disjoint classes, one head."""

    n_tasks: int | None = None
    """Number of tasks; null: as many as classes_per_task gives."""
    classes_per_task: int | None = None
    """Classes in a task; null: as n_tasks gives (with neither: 2)."""
    chunk: int | None = None
    """Deliver tasks in pieces of so many samples and hide their boundaries (online learning)."""

    def __post_init__(self) -> None:
        at_least(1, self, "n_tasks", "classes_per_task", "chunk")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """The stream over a pool; ends when every class has come."""
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
