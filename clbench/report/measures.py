"""What a report draws of an arm, as arrays of a bounded size, means over its completed seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clbench.results import classes as by_class
from clbench.results.arms import Arm
from clbench.results.panel_kinds import curve, forgetting_by_task
from clbench.results.record import Record

MOST_CELLS = 48
"""Rows or columns of a heat map: of more tasks or evaluations, so many are picked evenly."""
MOST_CLASSES = 48
"""Where a stream has more classes, they have no heat map."""


def done(arm: Arm) -> list[Record]:
    """The completed runs, which alone are averaged."""
    return [r for r in arm.records if r.status == "completed" and r.counts["correct"]]


def _line(
    records: Sequence[Record], of: Callable[[Record], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    found = [of(r) for r in records]
    if not found:
        return np.zeros(0), np.zeros(0)
    at = found[0][0]
    values = np.mean([np.interp(at, x, y) for x, y in found if len(x)], axis=0)
    return at, np.asarray(values)


def accuracy_line(records: Sequence[Record], cumulative: bool) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy on the tasks so far after each, or on the world at each evaluation."""
    if cumulative:
        return _line(records, curve)
    return _line(records, lambda r: (r.to_counts().evaluated_after, r.to_counts().world_accuracy))


def forgetting_line(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Forgetting of each task that has any."""

    def one(record: Record) -> tuple[np.ndarray, np.ndarray]:
        values = forgetting_by_task(record)
        known = np.flatnonzero(~np.isnan(values))
        return known, values[known]

    found = [one(r) for r in records]
    if not found or any(len(x) == 0 for x, _ in found):
        return np.zeros(0), np.zeros(0)
    return _line(records, one)


def picked(n: int) -> np.ndarray:
    """At most ``MOST_CELLS`` of n numbers from 0, evenly, with the first and the last."""
    return np.unique(np.round(np.linspace(0, n - 1, min(n, MOST_CELLS))).astype(np.int64))


def task_matrix(records: Sequence[Record]) -> tuple[np.ndarray, list[str]] | None:
    """``(K, K)`` accuracy on picked tasks (columns) after them (rows), and the tasks' numbers."""
    n = min((len(r.tasks["end"]) for r in records), default=0)
    if n < 2:
        return None
    tasks = picked(n)
    total = []
    for record in records:
        counts = record.to_counts()
        rows, views = counts.right_after[tasks], counts.view_of_task[tasks]
        values = counts.view_accuracy[rows][:, views]
        values[rows < 0] = np.nan
        values[:, views < 0] = np.nan
        total.append(values)
    return np.mean(total, axis=0), [str(t) for t in tasks]


def class_lines(records: Sequence[Record]) -> tuple[np.ndarray, list[str], list[str]] | None:
    """``(classes, K)`` accuracy of each class at picked evaluations, with both their names.

    None where seeds have different classes, or there are many.
    """
    if not records:
        return None
    known = [sorted({c["label"] for c in r.counts["cells"]}) for r in records]
    names = [[by_class.title(r, c) for c in ks] for r, ks in zip(records, known, strict=True)]
    counts = [r.to_counts() for r in records]
    n = min(len(c.evaluated_after) for c in counts)
    if n < 2 or any(name != names[0] for name in names) or not 1 < len(known[0]) <= MOST_CLASSES:
        return None
    at = picked(n)
    total = []
    for c in counts:
        own = [c.label == label for label in known[0]]
        total.append([c.correct[at][:, k].sum(1) / c.size[k].sum() for k in own])
    return np.mean(total, axis=0), names[0], [str(v) for v in counts[0].evaluated_after[at]]


def confusion(records: Sequence[Record]) -> tuple[np.ndarray, list[str]] | None:
    """``(C, C)`` shares of each class's samples by the answer at the end, and the classes' names."""
    known = [r for r in records if r.answers is not None]
    if not known or len(known) < len(records):
        return None
    tables = [np.array(r.answers["counts"]) for r in known if r.answers is not None]
    if tables[0].shape != tables[-1].shape or not 1 < len(tables[0]) <= MOST_CLASSES:
        return None
    counts = np.sum(tables, axis=0)
    names = known[0].class_names or [str(k) for k in range(len(counts))]
    return counts / np.maximum(counts.sum(1, keepdims=True), 1), [*names]
