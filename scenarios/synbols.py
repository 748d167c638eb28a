"""Synbols as a stream: new classes, drifting attributes, or changing labels of drawn symbols.

The images are those of Lacoste et al. 2020 (arXiv 2009.06415), whose attributes are all known. The
streams are clbench's own, since the paper has none. A sample stays the same image over the stream; it
is drawn again with another value of the attribute that drifts:

- ``classes``: class-incremental over the classes that ``data.label`` names (characters, fonts, glyphs,
  alphabets). Every class comes once, and there is one head.
- ``domains``: every task has all classes, and an attribute of the images drifts from task to task: in
  steps (a pattern, a count), along a line (a number), or, with ``gradual``, for a growing share of the
  images. All domains are evaluated, up to 32 of them.
- ``labels``: the tasks ask in turn for the character and for the font of the same images. The learner
  knows which (task ids are given, and the label spaces swap).
- ``spurious``: an attribute correlates with the label in training but not in testing, as in
  ``scenario=subgroup_shift``. The groups are the pairs of a label and a stop of the attribute.

For random draws of classes that recur, of up to a thousand glyphs, see ``scenario=scole data=synbols
data.label=glyph``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.synbols.both_labels import BothLabels
from clbench.data.synbols.drifts import DRIFTS, Drifting, Named, drifting
from clbench.data.synbols.pool import SynbolsPool
from clbench.data.synbols.redraw import Redraw
from clbench.scenario import split_classes, tied
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within
from clbench.stream import PROBED_DOMAINS

FEWEST_ON_A_LINE = 5
"""The least number of tasks of an attribute that drifts along a line."""


@dataclass(frozen=True)
class SynbolsStream(Scenario):
    """Changes the classes, attributes or labels of symbols over the stream."""

    recommended: ClassVar[Mapping[str, object]] = MappingProxyType(
        {
            "data": "synbols",
            "data.preset": "plain",
            "data.n_train": 5000,
            "data.n_test": 1000,
            "model": "scole_cnn",
        }
    )
    takes: ClassVar[type] = SynbolsPool

    kind: Literal["classes", "domains", "labels", "spurious"] = "classes"
    """What changes over the stream."""
    n_tasks: Annotated[int | None, AtLeast(1)] = None
    """Number of tasks. null: for classes, it follows from classes_per_task; for domains, one for each
    stop of the drift, and at least 5 on a line; for labels, 2; for spurious, 1."""
    classes_per_task: Annotated[int | None, AtLeast(1)] = None
    """Classes in a task of kind=classes; null: it follows from n_tasks, or is 2 if that is null."""
    attribute: Named = "patterns"
    """The attribute that drifts or is tied to the label: patterns (solid, gradient, camouflage,
    natural), rotation (growing), scale (shrinking), occlusion (heavier), noise."""
    drift: tuple[str, ...] = ()
    """Attributes that drift instead, with their stops: [rotation=0>1.5,background=black>natural]."""
    gradual: bool = False
    """For patterns and counts: change a growing share of the images from one stop to the next."""
    alignment: Annotated[float, Within(0, 1)] = 0.95
    """Probability in training of the value that is tied to the label, for kind=spurious."""
    share: Annotated[float, Within(0, 1, open_low=True)] = 1.0
    """Share of the samples that a task delivers, drawn again for each task, for kind=domains and
    kind=spurious."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""

    def without_effect(self) -> dict[str, str]:
        """What is of some kinds alone."""
        of = {
            "attribute": ("domains", "spurious"),
            "drift": ("domains", "spurious"),
            "gradual": ("domains", "spurious"),
            "share": ("domains", "spurious"),
            "alignment": ("spurious",),
        }
        here = f"scenario.kind={self.kind}"
        found = {name: here for name, kinds in of.items() if self.kind not in kinds}
        if self.drift:
            found["attribute"] = "scenario.drift"
        return super().without_effect() | found

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes_per_task is not None and self.kind != "classes":
            raise UsageError(
                f"scenario.classes_per_task has no effect with scenario.kind={self.kind}"
            )

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over synbols, or over latents of them."""
        if not isinstance(pool.raw, SynbolsPool):
            raise UsageError("scenario=synbols needs data=synbols; choose another scenario")
        if self.kind == "classes":
            tasks = split_classes(pool.n_classes, self.n_tasks, self.classes_per_task, seed)
            every = tuple(range(pool.n_classes))
            plan = tasks.__getitem__
            return Stream(pool, seed, plan, len(tasks), every, self.chunk, disjoint=True)
        if self.kind == "labels":
            return self._labels(pool, seed)
        words = self.drift or DRIFTS[self.attribute]
        drift = drifting(pool.raw.generator.spec, words, self.gradual)
        return (self._domains if self.kind == "domains" else self._spurious)(pool, seed, drift)

    def _domains(self, pool: Pool, seed: int, drift: Drifting) -> Stream:
        stops = drift.n_stops
        fewest = stops if drift.steps else max(stops, FEWEST_ON_A_LINE)
        n = fewest if self.n_tasks is None else self.n_tasks
        if n < stops:
            raise UsageError(f"scenario.n_tasks={n}: the drift has {stops} stops; drop it")
        every = tuple(range(pool.n_classes))
        n_domains = stops if drift.steps else n
        last = max(1, n - 1)
        domains = [(2 * t * (n_domains - 1) + last) // (2 * last) for t in range(n)]
        return Stream(
            pool=pool,
            seed=seed,
            plan=[Task(every, domain=d, transform=d, variant=d) for d in domains].__getitem__,
            n_tasks=n,
            labels=every,
            chunk=self.chunk,
            share=self.share,
            transform=_redraw(pool, drift, n_domains),
            n_domains=n_domains,
        )

    def _labels(self, pool: Pool, seed: int) -> Stream:
        both = BothLabels(pool, ("char", "font"))
        first, n = both.parts[0], both.n_classes
        turns = [Task(tuple(range(first))), Task(tuple(range(first, n)))]
        n_tasks = 2 if self.n_tasks is None else self.n_tasks
        if n_tasks < 2:
            raise UsageError("scenario.n_tasks=1: labels that change need 2 tasks")
        return Stream(
            pool=both,
            seed=seed,
            plan=[turns[t % 2] for t in range(n_tasks)].__getitem__,
            n_tasks=n_tasks,
            labels=tuple(range(n)),
            chunk=self.chunk,
            task_ids=True,
            disjoint=n_tasks == 2,
        )

    def _spurious(self, pool: Pool, seed: int, drift: Drifting) -> Stream:
        most = min(pool.n_classes, PROBED_DOMAINS)
        if drift.n_stops > most:
            raise UsageError(
                f"scenario.drift: {drift.n_stops} stops to tie to {pool.n_classes} classes; at most "
                f"{most}"
            )
        return Stream(
            pool=pool,
            seed=seed,
            plan=_Spurious(pool, seed, drift.n_stops, self.alignment),
            n_tasks=1 if self.n_tasks is None else self.n_tasks,
            labels=tuple(range(pool.n_classes)),
            chunk=self.chunk,
            share=self.share,
            transform=_redraw(pool, drift, drift.n_stops),
            n_domains=drift.n_stops,
            groups=True,
        )


def _redraw(pool: Pool, drift: Drifting, n: int) -> Redraw:
    assert isinstance(pool.raw, SynbolsPool)
    return Redraw.of(pool.raw, drift.spec, n)


@dataclass(frozen=True)
class _Spurious:
    """Makes task ``t`` from ``t`` alone: all images, with an attribute for each."""

    pool: Pool
    seed: int
    n_values: int
    alignment: float

    def __call__(self, t: int) -> Task:
        rng = seeding.generator(self.seed, Axis.STREAM, t)
        labels = self.pool.labels("train")
        attribute = tied(labels, self.n_values, self.alignment, rng)
        every = tuple(range(self.pool.n_classes))
        return Task(every, domain=None, index=np.arange(len(labels)), attribute=attribute)
