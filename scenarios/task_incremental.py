"""Task-incremental: disjoint classes, with the task's number given in training and prediction.

This is the task-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734). A prediction is
always a class of its task: the harness masks the scores of all other classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from clbench import Pool, Scenario, Stream
from clbench.scenario import split_classes
from clbench.settings import AtLeast


@dataclass(frozen=True)
class TaskIncremental(Scenario):
    """Delivers disjoint classes with task identities."""

    n_tasks: Annotated[int | None, AtLeast(1)] = None
    """Number of tasks; null: it follows from classes_per_task."""
    classes_per_task: Annotated[int | None, AtLeast(1)] = None
    """Classes in a task; null: it follows from n_tasks, or is 2 if that is null too."""

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. It ends when every class has come."""
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
