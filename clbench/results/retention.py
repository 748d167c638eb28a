"""Tables that a record keeps beside its metrics: accuracy by recency and by frequency."""

from __future__ import annotations

from typing import NamedTuple

from clbench.metric import Counts
from clbench.util.lazy_numpy import np


class Retention(NamedTuple):
    """Accuracy of classes that were last seen between so many tasks ago; 0 is the newest task."""

    since: int
    to: int
    accuracy: float
    n_terms: int
    """Pairs of cell and evaluation that are averaged."""


def retention(counts: Counts) -> list[Retention]:
    """Accuracy of a class against the tasks since it was last seen (0, 1, 2, 3-4, 5-8, and so on)."""
    ended = np.searchsorted(counts.task_end, counts.evaluated_after, side="right")
    if not (ended > 0).any():
        return []
    last = _last_task(counts.views, counts.view_of_task)[ended[ended > 0] - 1]
    seen = last >= 0
    since = ((ended[ended > 0] - 1)[:, None] - last)[seen]
    accuracy = (counts.correct / counts.size)[ended > 0][seen]
    longest = since.max(initial=-1)
    lows = [0]
    while lows[-1] <= longest:
        lows.append(_last_of_bin(lows[-1]) + 1)
    number = (np.searchsorted(lows, np.arange(longest + 1), side="right") - 1)[since]
    terms = np.bincount(number, minlength=len(lows)).tolist()
    total = np.bincount(number, weights=accuracy, minlength=len(lows)).tolist()
    return [
        Retention(low, _last_of_bin(low), part / n, n)
        for low, part, n in zip(lows, total, terms, strict=True)
        if n
    ]


def _last_of_bin(low: int) -> int:
    """The last number of tasks in the bin that begins with ``low``."""
    return low if low < 3 else 2 * (low - 1)


class Frequency(NamedTuple):
    """One cell: in what share of the tasks it came, and its accuracy at the end."""

    label: int
    frequency: float
    accuracy: float
    n_terms: int
    """Its test samples."""


def frequency(counts: Counts) -> list[Frequency]:
    """Accuracy of each cell at the end against how often it came."""
    if len(counts.evaluated_after) == 0:
        return []
    tasks = np.bincount(counts.view_of_task[counts.view_of_task >= 0], minlength=len(counts.views))
    share = tasks @ counts.views / max(1, len(counts.view_of_task))
    accuracy = counts.correct[-1] / counts.size
    return [
        Frequency(int(c), float(f), float(a), int(n))
        for c, f, a, n in zip(counts.label, share, accuracy, counts.size, strict=True)
    ]


def _last_task(views: np.ndarray, view_of_task: np.ndarray) -> np.ndarray:
    """``(T, C)``: when task t has ended, the last task with each cell; -1 where none had it."""
    seen = views[view_of_task] & (view_of_task >= 0)[:, None]
    numbers = np.where(seen, np.arange(len(view_of_task))[:, None], -1)
    return np.asarray(np.maximum.accumulate(numbers, axis=0))
