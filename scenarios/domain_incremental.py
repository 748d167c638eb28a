"""Domain-incremental: the same classes in every task, each time with another transform.

This is the domain-incremental scenario of van de Ven & Tolias 2019 (arXiv 1904.07734):

- ``permuted``: a fixed pixel permutation per task (Goodfellow et al. 2013, arXiv 1312.6211). The first
  task is not permuted. The stream may be endless.
- ``rotated``: angles that are evenly spaced over ``[0, max_degrees]`` (Lopez-Paz & Ranzato 2017 draw
  random ones from [0, 180]).
- ``corrupted``: one corruption of Hendrycks & Dietterich 2019 (arXiv 1903.12261) per task. The first
  task is clean, and there are at most 17 tasks.

Streams of more than 32 domains are evaluated on 32 of them, spread evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.corruptions import KINDS
from clbench.data.transforms import Corrupt, Permute, Rotate, Transform
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class DomainIncremental(Scenario):
    """Delivers the same classes under changing transforms."""

    transform: Literal["permuted", "rotated", "corrupted"] = "permuted"
    """The transform that differs between domains."""
    n_tasks: Annotated[int | None, AtLeast(1)] = 10
    """Number of tasks, one domain each; null: endless (permuted only)."""
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
        if self.n_tasks is None and self.transform != "permuted":
            raise UsageError("scenario.n_tasks=null: only scenario.transform=permuted is endless")
        if self.transform == "corrupted" and (self.n_tasks or 0) > len(KINDS):
            raise UsageError(f"scenario.n_tasks={self.n_tasks}: corrupted has {len(KINDS)} domains")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. Task t is domain t."""
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
