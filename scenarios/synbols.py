"""Synbols as a stream: classes that come in turn, attributes that drift, labels that change.

The images are those of Lacoste et al. 2020 (arXiv 2009.06415), whose attributes are all known; the
streams are clbench's own, the paper has none. What a sample is stays the same image throughout,
drawn again with another value of what drifts:

- ``classes``: class-incremental over what ``data.label`` names (characters, fonts, glyphs,
  alphabets), every class once, one head.
- ``domains``: every task has all classes, and an attribute of the images drifts from task to task:
  in steps (a pattern, a count), along a line (a number), or, ``gradual``, by a share of the images
  that grows. All domains are evaluated, up to 32 of them.
- ``labels``: what character it is and what font it is are asked of the same images in turn; the
  learner is told which (the label spaces swap, task identities are given).
- ``spurious``: an attribute goes with the label in training, and with none in testing, as in
  ``scenario=subgroup_shift``; the groups are label times stop of the attribute.

For draws of classes that recur, of up to a thousand glyphs, see ``scenario=scole data=synbols
data.label=glyph``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.synbols.both_labels import BothLabels
from clbench.data.synbols.drifts import DRIFTS, Drifting, Named, drifting
from clbench.data.synbols.pool import SynbolsPool
from clbench.data.synbols.redraw import Redraw
from clbench.scenario import at_least, split_classes, tied
from clbench.seeding import Axis
from clbench.stream import PROBED_DOMAINS

FEWEST_ON_A_LINE = 5


@dataclass(frozen=True)
class SynbolsStream(Scenario):
    """Classes, attributes or labels of symbols that change over the stream."""

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
    """What changes."""
    n_tasks: int | None = None
    """Number of tasks. null: of classes as classes_per_task gives; of domains one for each stop of
    the drift, on a line at least 5; of labels 2; of spurious 1."""
    classes_per_task: int | None = None
    """Classes in a task of kind=classes; null: as n_tasks gives (with neither: 2)."""
    attribute: Named = "patterns"
    """What drifts, or goes with the label: patterns (solid, gradient, camouflage, natural), rotation
    (growing), scale (shrinking), occlusion (heavier), noise."""
    drift: tuple[str, ...] = ()
    """Attributes that drift instead, with their stops: [rotation=0>1.5,background=black>natural]."""
    gradual: bool = False
    """Patterns and counts: from one stop to the next a growing share of the images, not all."""
    alignment: float = 0.95
    """Of kind=spurious: probability in training of the value tied to the label."""
    share: float = 1.0
    """Part of the samples that a task of domains or spurious delivers, drawn anew each time."""
    chunk: int | None = None
    """Deliver tasks in pieces of so many samples and hide their boundaries (online learning)."""

    def __post_init__(self) -> None:
        at_least(1, self, "n_tasks", "classes_per_task", "chunk")
        for name, open_below in (("alignment", False), ("share", True)):
            value = getattr(self, name)
            if not 0 <= value <= 1 or (open_below and value == 0):
                raise UsageError(f"scenario.{name}={value} must be in {'(['[not open_below]}0, 1]")
        if self.classes_per_task is not None and self.kind != "classes":
            raise UsageError(f"scenario.classes_per_task is not of scenario.kind={self.kind}")

    def stream(self, pool: Pool, seed: int) -> Stream:
        """The stream over synbols, or over latents of them."""
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
    """Task ``t`` as a function of ``t``: every image, and the attribute that it is drawn with."""

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
