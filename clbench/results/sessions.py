"""Metrics of few-shot streams: base and novel classes, their harmonic mean, and the drop.

A base task with many samples comes first, then sessions with few. Sources: base and novel accuracy and
their harmonic mean, Peng et al. 2022 (ALICE, arXiv 2208.00147; from memory, not checked); performance
drop, Zhang et al. 2021 (CEC, arXiv 2104.03047; likewise), as Roy et al. 2024 (arXiv 2403.14392) use
them. Every test sample has the same weight.
"""

from __future__ import annotations

from clbench.metric import UNDEFINED, Counts, Value
from clbench.results.presence import first_task
from clbench.util.lazy_numpy import np


def base_accuracy(counts: Counts) -> Value:
    """Accuracy at the end on the cells of the first task; terms: samples."""
    return _at(counts, len(counts.evaluated_after) - 1, _came(counts, 0, 1))


def novel_accuracy(counts: Counts) -> Value:
    """Accuracy at the end on the cells that came after the first task; terms: samples."""
    return _at(counts, len(counts.evaluated_after) - 1, _came(counts, 1, _ended(counts)))


def harmonic_accuracy(counts: Counts) -> Value:
    """Harmonic mean of the accuracies at the end on the first task's cells and on later ones."""
    base, novel = base_accuracy(counts), novel_accuracy(counts)
    if base.value is None or novel.value is None:
        return UNDEFINED
    total = base.value + novel.value
    return Value(2 * base.value * novel.value / total if total else 0.0, 2)


def accuracy_drop(counts: Counts) -> Value:
    """PD: accuracy on the first task right after it, less that on all that came, at the end."""
    if _ended(counts) < 2 or counts.right_after[0] < 0:
        return UNDEFINED
    first = _at(counts, int(counts.right_after[0]), _came(counts, 0, 1))
    last = _at(counts, len(counts.evaluated_after) - 1, _came(counts, 0, _ended(counts)))
    if first.value is None or last.value is None:
        return UNDEFINED
    return Value(first.value - last.value, 2)


def _ended(counts: Counts) -> int:
    """How many tasks had ended at the last evaluation."""
    return int((counts.task_end <= counts.evaluated_after[-1]).sum())


def _came(counts: Counts, start: int, stop: int) -> np.ndarray:
    """``(C,)`` bool: cells whose first task is one of ``start .. stop - 1``."""
    first = first_task(counts.views, counts.view_of_task)
    return np.asarray((first >= start) & (first < min(stop, _ended(counts))))


def _at(counts: Counts, evaluation: int, cells: np.ndarray) -> Value:
    """The accuracy of an evaluation on some cells."""
    n = int(counts.size[cells].sum())
    if n == 0:
        return UNDEFINED
    return Value(float(counts.correct[evaluation][cells].sum() / n), n)
