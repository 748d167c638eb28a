"""Growing vocabulary: each task has one new class beside all classes of the tasks before."""

from dataclasses import dataclass
from typing import Annotated

from clbench import Pool, Scenario, Stream, Task, seeding
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class Growing(Scenario):
    """Task t has classes 0 to first + t - 1, in an order that the seed draws."""

    first: Annotated[int, AtLeast(1)] = 2
    """Classes of the first task."""
    share: Annotated[float, Within(0, 1, open_low=True)] = 0.5
    """Share of the samples of its classes that a task delivers, drawn again for each task."""

    def stream(self, pool: Pool, seed: int) -> Stream:
        """What comes when; a function of the settings, the data and the seed alone."""
        order = seeding.generator(seed, Axis.STREAM).permutation(pool.n_classes)
        first = min(self.first, pool.n_classes)
        return Stream(
            pool=pool,
            seed=seed,
            plan=lambda t: Task(tuple(range(first + t))),
            n_tasks=pool.n_classes - first + 1,
            labels=tuple(int(label) for label in order),
            share=self.share,
        )
