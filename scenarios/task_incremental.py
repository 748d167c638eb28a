"""Task-incremental: disjoint classes, and the learner is told the task in training and prediction.

The task-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734). A prediction may only
name a class of its task; the harness masks the scores of strategies that do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from clbench import Pool, Scenario, Stream
from clbench.scenario import at_least, split_classes


@dataclass(frozen=True)
class TaskIncremental(Scenario):
    """Disjoint classes with task identities."""

    n_tasks: int | None = None
    """Number of tasks; null: as many as classes_per_task gives."""
    classes_per_task: int | None = None
    """Classes in a task; null: as n_tasks gives (with neither: 2)."""

    def __post_init__(self) -> None:
        at_least(1, self, "n_tasks", "classes_per_task")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """The stream over a pool; ends when every class has come."""
        tasks = split_classes(pool.n_classes, self.n_tasks, self.classes_per_task, seed)
        return Stream(
            pool=pool,
            seed=seed,
            plan=tasks.__getitem__,
            n_tasks=len(tasks),
            labels=tuple(range(pool.n_classes)),
            task_ids=True,
            disjoint=True,
        )
