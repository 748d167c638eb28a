"""Domain-incremental: the same classes in every task, seen through another transform each time.

The domain-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734):

- ``permuted``: a fixed pixel permutation per task (Goodfellow et al. 2013, arXiv 1312.6211); the
  first task is not permuted. May be endless.
- ``rotated``: by angles spread evenly over ``[0, max_degrees]`` (Lopez-Paz & Ranzato 2017 draw from
  [0, 180]; theirs are random, these are evenly spaced).
- ``corrupted``: one corruption of Hendrycks & Dietterich 2019 (arXiv 1903.12261) per task, the first
  task clean; at most 17 tasks.

Streams of more than 32 domains are evaluated on 32 of them, spread evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.corruptions import KINDS
from clbench.data.transforms import Corrupt, Permute, Rotate, Transform
from clbench.scenario import at_least
from clbench.seeding import Axis


@dataclass(frozen=True)
class DomainIncremental(Scenario):
    """The same classes under changing transforms."""

    transform: Literal["permuted", "rotated", "corrupted"] = "permuted"
    """What makes a domain."""
    n_tasks: int | None = 10
    """Number of tasks, one domain each; null: endless (permuted only)."""
    max_degrees: float = 180.0
    """Angle of the last task of rotated."""
    severity: int = 3
    """Strength of corrupted, 1 to 5."""
    share: float = 1.0
    """Part of the samples that a task delivers, drawn anew each time."""
    chunk: int | None = None
    """Deliver tasks in pieces of so many samples and hide their boundaries (online learning)."""

    def __post_init__(self) -> None:
        at_least(1, self, "n_tasks", "chunk")
        if not 0 < self.share <= 1:
            raise UsageError(f"scenario.share={self.share} must be in (0, 1]")
        if not 0 < self.max_degrees <= 360:
            raise UsageError(f"scenario.max_degrees={self.max_degrees} must be in (0, 360]")
        if not 1 <= self.severity <= 5:
            raise UsageError(f"scenario.severity={self.severity} must be in 1..5")
        if self.n_tasks is None and self.transform != "permuted":
            raise UsageError("scenario.n_tasks=null: only scenario.transform=permuted is endless")
        if self.transform == "corrupted" and (self.n_tasks or 0) > len(KINDS):
            raise UsageError(f"scenario.n_tasks={self.n_tasks}: corrupted has {len(KINDS)} domains")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """The stream over a pool; task t is domain t."""
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

    def _transform(self, pool: Pool, seed: int) -> Transform:
        if self.transform == "permuted":
            return Permute(seeding.integer(seed, Axis.STREAM), self.n_tasks)
        assert self.n_tasks is not None
        if self.transform == "rotated":
            steps = max(1, self.n_tasks - 1)
            angles = tuple(self.max_degrees * t / steps for t in range(self.n_tasks))
            return Rotate(angles)
        return Corrupt(tuple(KINDS)[: self.n_tasks], self.severity, pool.raw.scale)
