"""SCoLe: long streams of tasks, each a random draw of classes that recur.

Lesort et al. 2023, "Challenging Common Assumptions about Catastrophic Forgetting and Knowledge
Accumulation" (CoLLAs; arXiv 2207.04543). Task t draws ``classes_per_task`` of the N classes without
replacement, with probabilities p, and delivers all their training samples. The test is always on all
classes. The settings are those of the authors' code, without its bugs:

- the stream has a generator of its own, so the strategy cannot change it;
- no tenth of a task is held out (theirs is drawn again from recurring samples, so it leaks);
  ``share=0.9`` delivers as many samples as their code;
- ``imbalance=reference`` has both of their formulas for p, and is refused where one is negative;
  ``imbalance=geometric`` works for any number of classes;
- ``severity`` counts from 1 (their 0 is the strongest).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

import numpy as np

from clbench import Pool, Scenario, Stream, Task, UsageError, seeding
from clbench.data.corruptions import DETERMINISTIC, KINDS
from clbench.data.transforms import Corrupt
from clbench.seeding import Axis
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class Scole(Scenario):
    """Draws the classes of each task at random, so that they recur."""

    n_tasks: Annotated[int | None, AtLeast(1)] = 1000
    """Number of tasks; null: endless (set max_tasks, or stop the run). 1: the i.i.d. reference."""
    classes_per_task: Annotated[int, AtLeast(1)] = 2
    """Classes in a task (k)."""
    n_classes: Annotated[int | None, AtLeast(2)] = None
    """Classes in the stream (N), drawn once from those of the data; null: all."""
    draw: Literal["random", "iid"] = "random"
    """random: k classes in every task; iid: all classes in every task (the control)."""
    share: Annotated[float, Within(0, 1, open_low=True)] = 1.0
    """Share of a class's samples that a task delivers, drawn again for each task."""
    chunk: Annotated[int | None, AtLeast(1)] = None
    """Deliver tasks in pieces of this many samples and hide their boundaries (online learning)."""
    imbalance: Literal["none", "reference", "geometric"] = "none"
    """Class probabilities. none: uniform; reference: the authors' (1 - f i)^e; geometric: from most to
    least probable by a constant factor."""
    entropy_decrease: Annotated[float, AtLeast(0)] = 2.0
    """e of imbalance=reference, with f = 0.01 for 100 classes and 0.05 otherwise."""
    imbalance_ratio: Annotated[float, AtLeast(1)] = 10.0
    """Ratio of the most to the least probable class, for imbalance=geometric."""
    prob_reduction: Annotated[float, AtLeast(1)] = 1.0
    """After a task, divide the probability of its classes by this, so that they become rarer."""
    forgetting: bool = False
    """After half of the tasks, draw only from the first half of the classes."""
    n_periods: Annotated[int, AtLeast(1)] = 1
    """Long-term drift: cut stream and classes into this many parts; each part of the stream draws
    from its part of the classes."""
    randomized_order: Annotated[float | None, Within(0, 1)] = None
    """Go through all class sets in order; replace each class at random with this probability."""
    randomized_couples: Annotated[float | None, Within(0, 1)] = None
    """Draw only from this random share of all class sets."""
    corruption: Literal["none", "random"] = "none"
    """random: one of 16 corruptions, or none, for each task's training images; test is clean."""
    severity: Annotated[int, Within(1, 5)] = 1
    """Strength of the corruptions, 1 to 5."""

    def without_effect(self) -> dict[str, str]:
        """What imbalance, corruption and the ways to draw classes leave without."""
        found = {}
        if self.corruption == "none":
            found["severity"] = "scenario.corruption=none"
        if self.imbalance != "reference":
            found["entropy_decrease"] = f"scenario.imbalance={self.imbalance}"
        if self.imbalance != "geometric":
            found["imbalance_ratio"] = f"scenario.imbalance={self.imbalance}"
        if self.draw == "iid":
            ways = ("forgetting", "n_periods", "randomized_order", "randomized_couples")
            idle = ("imbalance", "prob_reduction", *ways)
            found |= dict.fromkeys(idle, "scenario.draw=iid")
        for name in ("randomized_order", "randomized_couples"):
            if getattr(self, name) is not None:
                found["imbalance"] = f"scenario.{name}"
        return super().without_effect() | found

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_tasks is None and (self.forgetting or self.n_periods > 1):
            raise UsageError(
                "scenario.n_tasks=null: an endless stream has no half-way point and no parts, so "
                "scenario.forgetting and scenario.n_periods need scenario.n_tasks"
            )
        ways = [
            self.randomized_order is not None,
            self.randomized_couples is not None,
            self.forgetting,
            self.n_periods > 1,
            self.prob_reduction > 1,
        ]
        if sum(ways) > 1:
            raise UsageError(
                "set at most one of scenario.randomized_order, randomized_couples, forgetting, "
                "n_periods, prob_reduction"
            )

    def stream(self, pool: Pool, seed: int) -> Stream:
        """Make the stream over a pool. A task depends on its number and the seed alone."""
        n = pool.n_classes if self.n_classes is None else self.n_classes
        if n > pool.n_classes:
            raise UsageError(f"scenario.n_classes={n}: the data have {pool.n_classes}")
        per_task = n if self.draw == "iid" or self.n_tasks == 1 else self.classes_per_task
        reach = n // 2 if self.forgetting else n // self.n_periods
        if per_task > n or (per_task > reach and self.draw == "random" and self.n_tasks != 1):
            raise UsageError(
                f"scenario.classes_per_task={per_task}: only {reach} classes to draw from"
            )
        rng = seeding.generator(seed, Axis.STREAM)
        labels = np.sort(rng.permutation(pool.n_classes)[:n])
        p = self._probabilities(n, rng)
        return Stream(
            pool=pool,
            seed=seed,
            plan=_Plan(self, n, per_task, p, seed),
            n_tasks=self.n_tasks,
            labels=tuple(int(label) for label in labels),
            chunk=self.chunk,
            share=self.share,
            transform=Corrupt(tuple(KINDS), self.severity, pool.raw.scale)
            if self.corruption == "random"
            else None,
        )

    def _probabilities(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Compute the class probabilities, ``(n,)``, shuffled."""
        rank = np.arange(n)
        if self.imbalance == "none":
            return np.full(n, 1 / n)
        if self.imbalance == "reference":
            base = 1 - (0.01 if n == 100 else 0.05) * rank
            if base.min() <= 0:
                raise UsageError(
                    f"scenario.imbalance=reference gives negative probabilities for {n} classes (it "
                    "is for up to 20, or 100); use scenario.imbalance=geometric"
                )
            p = base**self.entropy_decrease
        else:
            p = self.imbalance_ratio ** (-rank / (n - 1))
        return np.asarray(rng.permutation(p / p.sum()))


class _Plan:
    """Makes task ``t`` from ``t`` alone: a draw of its own generator, or a fold over all draws."""

    def __init__(self, settings: Scole, n: int, per_task: int, p: np.ndarray, seed: int) -> None:
        self.settings, self.n, self.per_task, self.p, self.seed = settings, n, per_task, p, seed
        self.folded: list[tuple[int, ...]] = []
        self.reduced = p
        self.task = cache(self._task) if settings.randomized_couples is not None else self._task
        self.couples = self._couples()

    def __call__(self, t: int) -> Task:
        return self.task(t)

    def _task(self, t: int) -> Task:
        rng = seeding.generator(self.seed, Axis.STREAM, t)
        classes = tuple(sorted(int(c) for c in self._classes(t, rng)))
        if self.settings.corruption == "none":
            return Task(classes)
        kind = int(rng.integers(len(KINDS)))
        # Random corruptions differ from task to task. After the others, samples may be the same.
        same = tuple(KINDS)[kind] in DETERMINISTIC
        return Task(classes, transform=kind, variant=kind if same else len(KINDS) + t)

    def _classes(self, t: int, rng: np.random.Generator) -> np.ndarray | tuple[int, ...]:
        s = self.settings
        if s.draw == "iid" or s.n_tasks == 1:
            return np.arange(self.n)
        if s.prob_reduction > 1:
            return self._fold(t)
        if s.randomized_couples is not None:
            return self.couples[int(rng.integers(len(self.couples)))]
        if s.randomized_order is not None:
            return self._in_order(t, s.randomized_order, rng)
        low, high = 0, self.n
        if s.forgetting and s.n_tasks is not None and t > s.n_tasks / 2:
            high = self.n // 2
        elif s.n_periods > 1 and s.n_tasks is not None:
            period = t * s.n_periods // s.n_tasks
            low, high = (part * self.n // s.n_periods for part in (period, period + 1))
        p = self.p[low:high]
        # The draw is sequential without replacement, so a class's share of tasks is not exactly k p.
        return low + rng.choice(high - low, self.per_task, replace=False, p=p / p.sum())

    def _fold(self, t: int) -> tuple[int, ...]:
        """Draw with probabilities that depend on all earlier draws; each is made once and kept."""
        while len(self.folded) <= t:
            rng = seeding.generator(self.seed, Axis.STREAM, len(self.folded))
            p = self.reduced / self.reduced.sum()
            drawn = rng.choice(self.n, self.per_task, replace=False, p=p)
            p[drawn] /= self.settings.prob_reduction
            self.reduced = p / p.sum()
            self.folded.append(tuple(int(c) for c in drawn))
        return self.folded[t]

    def _in_order(self, t: int, q: float, rng: np.random.Generator) -> tuple[int, ...]:
        """Take the t-th class set in lexicographic order; replace classes at random (all distinct)."""
        wanted = t % math.comb(self.n, self.per_task)
        classes = list(_combination(self.n, self.per_task, wanted))
        for at in range(len(classes)):
            if rng.random() < q:
                others = [c for c in range(self.n) if c not in classes or c == classes[at]]
                classes[at] = int(rng.choice(others))
        return tuple(classes)

    def _couples(self) -> list[tuple[int, ...]]:
        """List the class sets that may be drawn; empty unless ``randomized_couples`` is set."""
        share = self.settings.randomized_couples
        if share is None:
            return []
        total = math.comb(self.n, self.per_task)
        if total > 1_000_000:
            raise UsageError(
                f"scenario.randomized_couples: {total} class sets are too many to list; "
                "use fewer classes"
            )
        every = list(itertools.combinations(range(self.n), self.per_task))
        rng = seeding.generator(self.seed, Axis.STREAM, 0, 1)
        chosen = rng.permutation(total)[: max(1, round(share * total))]
        return [every[i] for i in sorted(chosen)]


def _combination(n: int, k: int, number: int) -> tuple[int, ...]:
    """Find the ``number``-th k-subset of 0..n-1 in lexicographic order, without listing them."""
    out, low = [], 0
    for left in range(k, 0, -1):
        for c in range(low, n):
            count = math.comb(n - c - 1, left - 1)
            if number < count:
                out.append(c)
                low = c + 1
                break
            number -= count
    return tuple(out)
