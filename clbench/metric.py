"""Metrics: what a metric is computed from, and how it is told.

A metric is a pure function of a run's counts, with what tables and help say of it. A package adds its
own under the entry point ``clbench.metrics``: a `Metric`, or a list of them. Records of new runs,
tables and the pages of boards then have it; older records too, where their counts allow it::

    def median_cell(counts: Counts) -> Value:
        \"\"\"MED: the median accuracy of the cells at the end.\"\"\"
        return Value(np.median(counts.correct[-1] / counts.size), len(counts.size))

    MEDIAN = Metric("median_cell", median_cell, "MED", since="2026-12-01")

A function is called only where there is at least one evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from clbench.util.lazy_numpy import np


class Value(NamedTuple):
    """A value and how many terms it averages; None where undefined."""

    value: float | None
    n_terms: int


UNDEFINED = Value(None, 0)
BLOCK = 1 << 20
"""Numbers of an accuracy matrix that are made at once where a metric goes through all of it."""


def lookup(ascending: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Positions of values in an ascending array; -1 where absent."""
    at = np.minimum(np.searchsorted(ascending, wanted), max(0, len(ascending) - 1))
    if len(ascending) == 0:
        return np.full(len(wanted), -1)
    return np.where(ascending[at] == wanted, at, -1)


@dataclass(frozen=True)
class Online:
    """What was answered right before it was learnt. E experiences; labelled samples only."""

    size: np.ndarray
    """``(E,)`` int: samples of each experience."""
    correct: np.ndarray
    """``(E,)`` int"""
    blind: np.ndarray
    """``(E,)`` int: what repeating the last known label would have had right."""
    ahead: np.ndarray
    """``(max(0, E - distance),)`` int: right answers on experiences from ``distance`` on, with the
    weights of ``distance`` experiences before; empty where none were asked for."""
    distance: int
    """0: none were asked for."""
    window: int
    """Experiences of the sliding window."""


@dataclass(frozen=True)
class Counts:
    """What was answered right. E evaluations, C cells, V views, T tasks that have ended."""

    evaluated_after: np.ndarray
    """``(E,)`` int: experiences learnt before each evaluation, ascending."""
    label: np.ndarray
    """``(C,)`` int: each cell's class."""
    size: np.ndarray
    """``(C,)`` int: each cell's test samples."""
    correct: np.ndarray
    """``(E, C)`` int"""
    views: np.ndarray
    """``(V, C)`` bool: the distinct sets of cells that tasks are measured on."""
    view_of_task: np.ndarray
    """``(T,)`` int: each task's view; -1 where its domain is not evaluated."""
    task_end: np.ndarray
    """``(T,)`` int: experiences learnt when the task had ended, ascending."""
    task_ids: bool
    """Whether predictions are told the task."""
    groups: bool = False
    """Whether the cells are groups: classes crossed with an attribute."""
    online: Online | None = None
    """None where nothing was predicted before it was learnt."""
    samples: np.ndarray | None = None
    """``(E,)`` int: training samples delivered before each evaluation; None in older records."""
    first: np.ndarray | None = None
    """``(C,)`` int: experiences learnt when a cell's class had come in its domain; -1: never."""

    @cached_property
    def view_accuracy(self) -> np.ndarray:
        """``(E, V)`` in [0, 1]: one pass serves every row of the accuracy matrix."""
        # As floats, which are exact up to 2**53 and multiplied a hundred times faster.
        members = self.views.T.astype(np.float64)
        return np.asarray((self.correct @ members) / np.maximum(self.size @ members, 1))

    def view_accuracy_by_block(self, backwards: bool = False) -> Iterator[tuple[int, np.ndarray]]:
        """``view_accuracy`` a block of evaluations at a time: the first one's number, ``(n, V)``.

        Thousands of evaluations of thousands of views need a block's memory, not the matrix's.

        Args:
            backwards: the last block comes first.
        """
        n_views = max(1, len(self.views))
        rows = max(1, BLOCK // n_views)
        members = self.views.T.astype(np.float64)
        sizes = np.maximum(self.size @ members, 1)
        starts = range(0, len(self.correct), rows)
        for at in reversed(starts) if backwards else starts:
            yield at, np.asarray((self.correct[at : at + rows] @ members) / sizes)

    def accuracy_on(self, evaluations: np.ndarray, views: np.ndarray) -> np.ndarray:
        """``(n,)`` in [0, 1]: ``view_accuracy`` at pairs of an evaluation and a view, both ``(n,)``."""
        found = np.empty(len(views))
        rows = max(1, BLOCK // max(1, len(self.size)))
        for at in range(0, len(views), rows):
            part = slice(at, at + rows)
            members = self.views[views[part]]
            right = (self.correct[evaluations[part]] * members).sum(1)
            found[part] = right / np.maximum((members * self.size).sum(1), 1)
        return found

    @cached_property
    def world_accuracy(self) -> np.ndarray:
        """``(E,)`` in [0, 1]: the share of all test samples that is answered right."""
        return np.asarray(self.correct.sum(1) / self.size.sum())

    @cached_property
    def worst_cell(self) -> np.ndarray:
        """``(E,)`` in [0, 1]: the lowest accuracy of any cell."""
        return np.asarray((self.correct / self.size).min(1))

    @cached_property
    def weight(self) -> np.ndarray:
        """``(E,)``: experiences that each evaluation stands for; 0 for the one before the first."""
        return np.asarray(np.diff(self.evaluated_after, prepend=0))

    @cached_property
    def right_after(self) -> np.ndarray:
        """``(T,)`` int: the evaluation made when the task had just been learnt; -1 where none was."""
        return lookup(self.evaluated_after, self.task_end)

    @cached_property
    def measured(self) -> np.ndarray:
        """``(T,)`` bool: tasks with a view that ended before the last evaluation or at it."""
        if len(self.evaluated_after) == 0:
            return np.zeros(len(self.task_end), dtype=bool)
        ended = self.task_end <= self.evaluated_after[-1]
        return np.asarray((self.view_of_task >= 0) & ended)

    def accuracy_matrix(self) -> np.ndarray:
        """``(E, T)`` in [0, 1]: accuracy on each task at each evaluation; NaN where not measured."""
        rows = self.view_accuracy[:, self.view_of_task]
        return np.where(self.view_of_task >= 0, rows, np.nan)


RANKING = "a metric where higher is better and no value is below 0, which a failed run scores"
"""What a board and a search can be ranked by, as errors say it (``Metric.ranks``)."""


@dataclass(frozen=True)
class Metric:
    """One metric: its function, and all that tables, boards and help say of it."""

    name: str
    """As records and ``--metric`` write it: letters, digits and underscores."""
    function: Callable[[Counts], Value]
    """The first paragraph of its docstring is the definition that is shown."""
    title: str
    """The head of its column, without the unit."""
    unit: str = "%"
    """``%``: the value is a share, shown times 100. Anything else is shown as it is."""
    lower_is_better: bool = False
    since: str = ""
    """The day it came; empty for those of the first day. A record may lack any later metric."""
    main: bool = True
    """Whether narrow tables show it; CSV and JSON show all."""
    everywhere: bool = False
    """Whether tables show it even where no run has a value."""
    span: tuple[float, float] | None = None
    """The least and the largest value that it can have; tables cut intervals to it."""

    def __post_init__(self) -> None:
        """Refuse a name that records cannot hold.

        Raises:
            ValueError: it has other characters than letters, digits and underscores.
        """
        if not re.fullmatch(r"[A-Za-z]\w{0,59}", self.name, re.ASCII):
            raise ValueError(f"metric {self.name!r}: use letters, digits and _, at most 60")

    @property
    def ranks(self) -> bool:
        """Whether it can rank runs of which one that fails scores 0: no value is worse than that."""
        return not self.lower_is_better and self.span is not None and self.span[0] >= 0

    @property
    def help(self) -> str:
        """Its definition, in one line."""
        paragraph = (self.function.__doc__ or "").strip().partition("\n\n")[0]
        return " ".join(paragraph.split())
