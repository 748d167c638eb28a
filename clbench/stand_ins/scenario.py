"""One task of all classes."""

from __future__ import annotations

from dataclasses import dataclass

from clbench import Pool, Scenario, Stream, Task


@dataclass(frozen=True)
class Plain(Scenario):
    """Delivers everything at once."""

    def stream(self, pool: Pool, seed: int) -> Stream:
        """One task of the pool's classes in their own order."""
        labels = tuple(range(pool.n_classes))
        task = Task(labels)
        return Stream(pool=pool, seed=seed, plan=lambda t: task, n_tasks=1, labels=labels)
