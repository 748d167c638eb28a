"""Task-incremental: disjoint classes, with the task's number given in training and prediction.

This is the task-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734). A prediction is
always a class of its task: the harness masks the scores of all other classes. A base task, a fixed
class order, few shots or a long tail are settings: see ``clbench.disjoint``.
"""

from __future__ import annotations

from dataclasses import dataclass

from clbench import Pool, Stream
from clbench.disjoint import DisjointClasses


@dataclass(frozen=True)
class TaskIncremental(DisjointClasses):
    """Delivers disjoint classes with task identities."""

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. It ends when every class has come."""
        tasks = self.tasks(pool, seed)
        return Stream(
            pool=pool,
            seed=seed,
            plan=tasks.__getitem__,
            n_tasks=len(tasks),
            labels=tuple(range(pool.n_classes)),
            task_ids=True,
            disjoint=True,
        )
