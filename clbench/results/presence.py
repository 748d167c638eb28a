"""Metrics by what has come so far: present, missing and unseen classes, and seen ones over samples.

Sources: present, missing and unseen classes of streams with repetition, Hemati et al. 2023 (arXiv
2301.11396); area under the accuracy over samples, Koh et al. 2022 (arXiv 2110.10031).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from clbench.metric import UNDEFINED, Counts, Value
from clbench.util.lazy_numpy import np


def present_accuracy(counts: Counts) -> Value:
    """Mean accuracy of the classes of a task right after it was learnt, averaged over tasks.

    Every class has the same weight, whatever its test samples; `learning_accuracy` weights samples.
    """
    present, _ = _came(counts)
    return _over_tasks(counts, present)


def missing_accuracy(counts: Counts) -> Value:
    """Mean accuracy, after each task, of the classes that came before and not in it; over tasks."""
    present, before = _came(counts)
    return _over_tasks(counts, before & ~present)


def unseen_accuracy(counts: Counts) -> Value:
    """Mean accuracy, after each task, of the classes that have not come yet; over tasks."""
    present, before = _came(counts)
    return _over_tasks(counts, ~before & ~present)


def a_auc(counts: Counts) -> Value:
    """A_AUC: area under the accuracy on the classes seen so far, over samples; divided by samples.

    The area is that of Koh et al. 2022: a sum of rectangles, each as high as the accuracy at an
    evaluation and as wide as the samples since the one before. For evaluations at equal distances it is
    the plain mean, which the authors' code takes. A class is seen from its first sample on. Undefined
    for records from before it was noted when classes come.
    """
    if counts.samples is None or counts.first is None:
        return UNDEFINED
    seen = (counts.first >= 0) & (counts.first <= counts.evaluated_after[:, None])
    right, total = (counts.correct * seen).sum(1), seen @ counts.size
    weight = np.where(total > 0, np.diff(counts.samples, prepend=0), 0)
    if weight.sum() == 0:
        return UNDEFINED
    area = (right / np.maximum(total, 1) * weight).sum()
    return Value(float(area / weight.sum()), int((weight > 0).sum()))


def first_task(views: np.ndarray, view_of_task: np.ndarray) -> np.ndarray:
    """``(C,)``: the first task with each cell; the number of tasks where none has it."""
    n_tasks = len(view_of_task)
    first_of_view = np.full(len(views), n_tasks)
    measured = np.flatnonzero(view_of_task >= 0)
    np.minimum.at(first_of_view, view_of_task[measured], measured)
    return np.asarray(np.where(views, first_of_view[:, None], n_tasks).min(0, initial=n_tasks))


def _tasks(counts: Counts) -> np.ndarray:
    """Tasks that have a view and were evaluated right after they were learnt."""
    return np.flatnonzero(counts.measured & (counts.right_after >= 0))


def _came(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """``(n, C)`` bool for those tasks: cells of the task; cells of an earlier task."""
    tasks = _tasks(counts)
    present = counts.views[counts.view_of_task[tasks]]
    first = first_task(counts.views, counts.view_of_task)
    return present, first < tasks[:, None]


def _over_tasks(counts: Counts, cells: np.ndarray) -> Value:
    """The mean over tasks of the mean accuracy of some cells, ``(n, C)`` bool, right after each."""
    accuracy = counts.correct[counts.right_after[_tasks(counts)]] / counts.size
    n_cells = cells.sum(1)
    some = n_cells > 0
    if not some.any():
        return UNDEFINED
    means = (accuracy * cells).sum(1)[some] / n_cells[some]
    return Value(float(means.mean()), int(some.sum()))


def faults(
    exposure: Mapping[str, Sequence[int]] | None, n_evaluations: int, n_cells: int
) -> Iterator[str]:
    """What does not fit together in a record's exposure."""
    if exposure is None:
        return
    samples, first = exposure["samples"], exposure["first"]
    if len(samples) != n_evaluations or len(first) != n_cells:
        yield "exposure must have a value for each evaluation and for each cell"
    if min(samples, default=0) < 0 or any(b < a for a, b in pairwise(samples)):
        yield "exposure.samples must be ascending"
    if min(first, default=0) < -1:
        yield "exposure.first must be at least -1"
