"""All-Pairs as a stream: the same question about images with more pairs, or of more types.

The images are those of Webb & Ramapuram 2018 (arXiv 1807.00126), drawn by ``data=all_pairs``. The
stream is clbench's own, since the paper learns each P-S task by itself. A task delivers images of one
difficulty P-S, and the question stays: does every symbol have a partner? All difficulties of the
stream are evaluated. A sample keeps its label over the stream and is drawn again with other symbols.

At chance (50 %) nothing is learnt yet: a task too hard to start with is a test of optimisation, and
what is learnt on easier tasks before may help. ``difficulty=[4-4]`` is the task by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

from clbench import Pool, Scenario, Stream, Task, UsageError
from clbench.data.pairs.generator import Difficulty
from clbench.data.pairs.pool import Harder, PairsPool
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class AllPairsStream(Scenario):
    """Raises the number of pairs and of types over the stream."""

    recommended: ClassVar[Mapping[str, object]] = MappingProxyType(
        {
            "data": "all_pairs",
            "data.pairs": 1,
            "data.types": 2,
            "data.n_train": 5000,
            "data.n_test": 1000,
            "data.side": 44,
            "data.smallest": 8,
            "data.largest": 9,
            "model": "typenet",
            "model.channels": 32,
        }
    )
    takes: ClassVar[type] = PairsPool

    difficulty: tuple[str, ...] = ("1-2", "2-2", "2-3", "3-3", "3-4", "4-4")
    """Pairs and types of the tasks, P-S each, in their order; all different."""
    n_tasks: Annotated[int | None, AtLeast(1)] = None
    """Number of tasks; null: one for each difficulty. With more, neighbouring tasks share one."""
    share: Annotated[float, Within(0, 1, open_low=True)] = 1.0
    """Share of the samples that a task delivers, drawn again for each task."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        stops = self.stops()
        if not stops or len(set(stops)) < len(stops):
            raise UsageError(
                f"scenario.difficulty={list(self.difficulty)}: name at least one, each once"
            )
        if self.n_tasks is not None and self.n_tasks < len(stops):
            raise UsageError(
                f"scenario.n_tasks={self.n_tasks}: there are {len(stops)} difficulties; name fewer"
            )

    def stops(self) -> tuple[Difficulty, ...]:
        """The difficulties, in the order in which they come."""
        return tuple(Difficulty.parse(text, "scenario.difficulty") for text in self.difficulty)

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over All-Pairs, or over latents of them.

        Raises:
            UsageError: the data are others, or their images are too small for a difficulty.
        """
        raw = pool.raw
        if not isinstance(raw, PairsPool):
            raise UsageError("scenario=all_pairs needs data=all_pairs; choose another scenario")
        stops = self.stops()
        for stop in stops:
            raw.generator.check(stop, f"scenario.difficulty={stop}")
        n = len(stops) if self.n_tasks is None else self.n_tasks
        domains = [t * len(stops) // n for t in range(n)]
        every = tuple(range(pool.n_classes))
        return Stream(
            pool=pool,
            seed=seed,
            plan=[Task(every, domain=d, transform=d, variant=d) for d in domains].__getitem__,
            n_tasks=n,
            labels=every,
            chunk=self.chunk,
            share=self.share,
            transform=Harder(raw, stops),
            n_domains=len(stops),
        )
