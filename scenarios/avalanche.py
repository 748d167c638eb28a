"""The stream that the data bring along: a benchmark of Avalanche; ``scenario=avalanche:NAME``.

``scenario=avalanche:CORe50`` is ``scenario=avalanche data=avalanche:CORe50``, with CORe50, CLEAR,
CLStream51 or any other classic benchmark of avalanche-lib. Task ``t`` holds the samples of its
training experience ``t``. Where the benchmark has a test set for each experience, with all classes
in each (CLEAR), each is a domain of its own; otherwise all test samples are one world, with a cell
for each class. Deviations: the samples of an experience come in a seeded random order, which
Avalanche's own loop draws too; task labels are not given; Avalanche's augmentations are left out
(``data.augment`` has ours).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError
from clbench.data.experiences import ByDomain, ExperiencePool
from clbench.settings import AtLeast


@dataclass(frozen=True)
class AvalancheStream(Scenario):
    """Experiences as the benchmark has them."""

    argument: ClassVar[str] = "set"
    takes: ClassVar[type] = ExperiencePool

    set: str | None = None
    """Name of the benchmark, which becomes the run's data; null: that of data=avalanche:NAME."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver experiences in pieces of this many samples and hide the boundaries."""

    @classmethod
    def recommends(cls, argument: str | None) -> Mapping[str, object]:
        """The data of that name."""
        return {} if argument is None else {"data": f"avalanche:{argument}"}

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream of the pool's experiences.

        Raises:
            UsageError: the pool has none, or those of another benchmark.
        """
        pool = pool.inner if isinstance(pool, ByDomain) else pool
        raw = pool.raw
        if not isinstance(raw, ExperiencePool):
            raise UsageError("scenario=avalanche needs data=avalanche:NAME, which has experiences")
        if self.set is not None and raw.name != self.set:
            raise UsageError(f"scenario=avalanche:{self.set}: the data are those of {raw.name}")
        parts, labels, each = raw.experiences["train"], raw.labels("train"), raw.n_classes
        classes = [tuple(int(c) for c in np.unique(labels[index])) for index in parts]
        every, n = tuple(range(each)), len(parts)
        by_domain = _has_domains(raw)
        tasks = [
            Task(classes[t], domain=t if by_domain else 0, index=index)
            for t, index in enumerate(parts)
        ]
        domains = tuple(tuple(range(t * each, (t + 1) * each)) for t in range(n))
        return Stream(
            pool=ByDomain(pool, raw.experiences) if by_domain else pool,
            seed=seed,
            plan=tasks.__getitem__,
            n_tasks=n,
            labels=every,
            chunk=self.chunk,
            n_domains=n if by_domain else 1,
            disjoint=sum(map(len, classes)) == len({c for found in classes for c in found}),
            labels_in=domains if by_domain else None,
        )


def _has_domains(pool: ExperiencePool) -> bool:
    """Whether each training experience has a test set of its own, with every class in it."""
    if len(pool.experiences["test"]) != len(pool.experiences["train"]) or pool.n_classes == 1:
        return False
    return len(pool.experiences["test"]) > 1 and all(
        len(np.unique(pool.labels(split)[index])) == pool.n_classes
        for split, parts in pool.experiences.items()
        for index in parts
    )
