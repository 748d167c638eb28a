"""Metrics as pure functions of counts.

Everything is recomputed from how many test samples of each cell were answered right at each
evaluation. Where a metric is undefined its value is None, never zero, and every value carries the
number of terms it averages.

Sources: average accuracy and forgetting, Chaudhry et al. 2018 (arXiv 1801.10112); backward and
forward transfer, Lopez-Paz & Ranzato 2017 (arXiv 1706.08840); average anytime accuracy, Caccia et
al. 2020 (arXiv 2003.05856); the whole world as headline, Lesort et al. 2023 (arXiv 2207.04543);
worst-group accuracy, Sagawa et al. 2020 (arXiv 1911.08731); average incremental accuracy, Rebuffi et
al. 2017 (arXiv 1611.07725).
"""

from __future__ import annotations

import functools
import importlib.util
import math
import sys
import warnings
from pathlib import Path

from clbench.errors import UsageError
from clbench.metric import UNDEFINED, Counts, Metric, Value, lookup
from clbench.plugins.registry import declared, line_of
from clbench.results import online
from clbench.results.presence import (
    a_auc,
    first_task,
    missing_accuracy,
    present_accuracy,
    unseen_accuracy,
)
from clbench.results.retention import Frequency as Frequency
from clbench.results.retention import Retention as Retention
from clbench.results.retention import frequency as frequency
from clbench.results.retention import retention as retention
from clbench.results.sessions import (
    accuracy_drop,
    base_accuracy,
    harmonic_accuracy,
    novel_accuracy,
)
from clbench.util.lazy_numpy import np


def compute(counts: Counts) -> dict[str, Value]:
    """All metrics of the table, by name."""
    return {name: value_of(metric, counts) for name, metric in table().items()}


def value_of(metric: Metric, counts: Counts) -> Value:
    """One metric; undefined where nothing was evaluated.

    Of a package's own metric an error loses no run: it is undefined there, with a warning.
    """
    if len(counts.evaluated_after) == 0:
        return UNDEFINED
    if metric in BUILTIN:
        return metric.function(counts)
    try:
        value, n_terms = metric.function(counts)
        found = Value(None if value is None else float(value), int(n_terms))
        if found.n_terms < 0 or not math.isfinite(found.value or 0.0):
            raise ValueError(f"{found} is not finite")
    except Exception as error:
        code = getattr(metric.function, "__code__", None)
        at = _place(error, Path(code.co_filename), code.co_firstlineno) if code else ""
        message = f"the metric {metric.name} failed: {type(error).__name__}: {error}{at}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return UNDEFINED
    return found


def world_accuracy(counts: Counts) -> Value:
    """Share of the whole world's test samples answered right at the end; terms: samples."""
    return Value(float(counts.world_accuracy[-1]), int(counts.size.sum()))


def anytime_world_accuracy(counts: Counts) -> Value:
    """World accuracy averaged over the stream, each evaluation for the experiences it stands for."""
    return _weighted(counts.world_accuracy, counts.weight)


def average_accuracy(counts: Counts) -> Value:
    """ACC: mean over tasks of the accuracy on each at the end."""
    return _mean(_at_the_end(counts, counts.view_of_task[counts.measured]))


def anytime_average_accuracy(counts: Counts) -> Value:
    """AAA: at each evaluation the mean over the tasks ended so far, averaged over the stream."""
    ended = np.searchsorted(counts.evaluated_after, counts.task_end)
    known = (counts.view_of_task >= 0) & (ended < len(counts.evaluated_after))
    ended, views = ended[known], counts.view_of_task[known]
    before = np.zeros(len(counts.views))  # tasks with each view that ended before the block
    means, totals = [], []
    for first, accuracy in counts.view_accuracy_by_block():
        tasks = np.zeros_like(accuracy)
        here = (ended >= first) & (ended < first + len(accuracy))
        np.add.at(tasks, (ended[here] - first, views[here]), 1)
        tasks[0] += before
        np.cumsum(tasks, axis=0, out=tasks)
        before = tasks[-1].copy()
        total = tasks.sum(1)
        means.append((tasks * accuracy).sum(1) / np.maximum(total, 1))
        totals.append(total)
    weight = np.where(np.concatenate(totals) > 0, counts.weight, 0)
    return _weighted(np.concatenate(means), weight)


def average_incremental_accuracy(counts: Counts) -> Value:
    """AIA: mean over tasks of the accuracy, right after each, on all cells of the tasks so far."""
    stages = np.flatnonzero(counts.right_after >= 0)
    seen = first_task(counts.views, counts.view_of_task)[None, :] <= stages[:, None]
    correct = (counts.correct[counts.right_after[stages]] * seen).sum(1)
    size = (counts.size * seen).sum(1)
    return _mean((correct / np.maximum(size, 1))[size > 0])


def learning_accuracy(counts: Counts) -> Value:
    """LA: mean accuracy on each task right after it was learnt."""
    tasks = counts.measured & (counts.right_after >= 0)
    return _mean(counts.accuracy_on(counts.right_after[tasks], counts.view_of_task[tasks]))


def forgetting(counts: Counts) -> Value:
    """FM: mean over earlier tasks of the best accuracy since learnt, less that at the end.

    Deviation from Chaudhry et al.: their maximum also runs over evaluations before the task was
    learnt, which where classes recur would measure another task.
    """
    tasks = _earlier(counts)
    if not tasks.any():
        return UNDEFINED
    views, since = counts.view_of_task[tasks], counts.right_after[tasks]
    best, later = np.zeros(len(views)), np.zeros(len(counts.views))
    for first, accuracy in counts.view_accuracy_by_block(backwards=True):
        accuracy = accuracy[
            : len(counts.correct) - 1 - first
        ]  # the last evaluation is no candidate
        if len(accuracy):
            accuracy[-1] = np.maximum(accuracy[-1], later)
            highest = np.maximum.accumulate(accuracy[::-1], axis=0)[::-1]
            here = (since >= first) & (since < first + len(accuracy))
            best[here], later = highest[since[here] - first, views[here]], highest[0].copy()
    return _mean(best - _at_the_end(counts, views))


def backward_transfer(counts: Counts) -> Value:
    """BWT: mean over earlier tasks of the accuracy at the end, less that right after learning."""
    tasks = _earlier(counts)
    views = counts.view_of_task[tasks]
    after = counts.accuracy_on(counts.right_after[tasks], views)
    return _mean(_at_the_end(counts, views) - after)


def forward_transfer(counts: Counts) -> Value:
    """FWT: accuracy on a task right before it is learnt, less that before anything was.

    Only tasks whose cells are all new count, since other tasks would measure retention. With a single
    head, only tasks whose classes came before in another domain count, since no learner can predict a
    class that it has not seen.
    """
    before = lookup(counts.evaluated_after, np.r_[0, counts.task_end[:-1]])
    if len(counts.task_end) < 2 or counts.evaluated_after[0] != 0:
        return UNDEFINED
    first_cell = first_task(counts.views, counts.view_of_task)
    labels = counts.label[None, :] == np.unique(counts.label)[:, None]
    first_label = np.where(labels, first_cell[None, :], len(counts.task_end)).min(1)
    gains = []
    # A task whose cells are all new is the first task of each of them.
    for t in np.intersect1d(np.flatnonzero(counts.measured & (before >= 0)), first_cell):
        cells = counts.views[counts.view_of_task[t]]
        classes = np.searchsorted(np.unique(counts.label), counts.label[cells])
        new = (first_cell[cells] == t).all()
        answerable = counts.task_ids or (first_label[classes] < t).all()
        if t > 0 and new and answerable:
            row = counts.accuracy_on(np.array([before[t], 0]), counts.view_of_task[[t, t]])
            gains.append(row[0] - row[1])
    return _mean(np.array(gains))


def worst_cell_accuracy(counts: Counts) -> Value:
    """The lowest accuracy of any cell at the end; terms: cells."""
    return Value(float(counts.worst_cell[-1]), len(counts.size))


def worst_group_accuracy(counts: Counts) -> Value:
    """The lowest accuracy of any group at the end, where cells are groups; terms: groups."""
    return worst_cell_accuracy(counts) if counts.groups else UNDEFINED


def anytime_worst_group_accuracy(counts: Counts) -> Value:
    """The lowest accuracy of any group at each evaluation, averaged over the stream."""
    return _weighted(counts.worst_cell, counts.weight) if counts.groups else UNDEFINED


SHARE, CHANGE = (0.0, 1.0), (-1.0, 1.0)
BUILTIN = (
    Metric("world_accuracy", world_accuracy, "world acc", everywhere=True, span=SHARE),
    Metric(
        "anytime_world_accuracy",
        anytime_world_accuracy,
        "anytime world",
        everywhere=True,
        span=SHARE,
    ),
    Metric("average_accuracy", average_accuracy, "ACC", everywhere=True, span=SHARE),
    Metric(
        "anytime_average_accuracy",
        anytime_average_accuracy,
        "AAA",
        main=False,
        everywhere=True,
        span=SHARE,
    ),
    Metric("learning_accuracy", learning_accuracy, "LA", everywhere=True, span=SHARE),
    Metric("forgetting", forgetting, "FM", lower_is_better=True, everywhere=True, span=CHANGE),
    Metric("backward_transfer", backward_transfer, "BWT", main=False, everywhere=True, span=CHANGE),
    Metric("forward_transfer", forward_transfer, "FWT", main=False, everywhere=True, span=CHANGE),
    Metric(
        "worst_cell_accuracy",
        worst_cell_accuracy,
        "worst cell",
        main=False,
        everywhere=True,
        span=SHARE,
    ),
    Metric(
        "worst_group_accuracy", worst_group_accuracy, "worst group", since="2026-11-22", span=SHARE
    ),
    Metric(
        "anytime_worst_group_accuracy",
        anytime_worst_group_accuracy,
        "anytime w. group",
        since="2026-11-22",
        main=False,
        span=SHARE,
    ),
    Metric(
        "average_incremental_accuracy",
        average_incremental_accuracy,
        "AIA",
        since="2026-11-28",
        main=False,
        span=SHARE,
    ),
    Metric("online_accuracy", online.online_accuracy, "online acc", since="2026-11-28", span=SHARE),
    Metric("blind_accuracy", online.blind_accuracy, "blind acc", since="2026-11-28", span=SHARE),
    Metric(
        "online_window_accuracy",
        online.online_window_accuracy,
        "last window",
        since="2026-11-28",
        main=False,
        span=SHARE,
    ),
    Metric(
        "next_window_accuracy",
        online.next_window_accuracy,
        "next window",
        since="2026-11-28",
        span=SHARE,
    ),
    Metric(
        "present_accuracy", present_accuracy, "present", since="2026-11-28", main=False, span=SHARE
    ),
    Metric(
        "missing_accuracy", missing_accuracy, "missing", since="2026-11-28", main=False, span=SHARE
    ),
    Metric(
        "unseen_accuracy", unseen_accuracy, "unseen", since="2026-11-28", main=False, span=SHARE
    ),
    Metric("a_auc", a_auc, "A_AUC", since="2026-11-28", main=False, span=SHARE),
    Metric("base_accuracy", base_accuracy, "base", since="2026-11-28", main=False, span=SHARE),
    Metric("novel_accuracy", novel_accuracy, "novel", since="2026-11-28", main=False, span=SHARE),
    Metric(
        "harmonic_accuracy",
        harmonic_accuracy,
        "base/novel",
        since="2026-11-28",
        main=False,
        span=SHARE,
    ),
    Metric(
        "accuracy_drop",
        accuracy_drop,
        "PD",
        since="2026-11-28",
        lower_is_better=True,
        main=False,
        span=CHANGE,
    ),
)
"""In the order of the tables. All that is said of a metric anywhere is read from here."""
ENTRY_POINT = "clbench.metrics"


def table() -> dict[str, Metric]:
    """All metrics by name: the built-in ones, then those of installed packages.

    Raises:
        UsageError: a package declares something else than metrics, or a name that is taken.
    """
    return {metric.name: metric for metric in (*BUILTIN, *_declared(tuple(sys.path)))}


FOUNDING = frozenset(
    (
        *("world_accuracy", "anytime_world_accuracy", "average_accuracy"),
        *("anytime_average_accuracy", "learning_accuracy", "forgetting", "backward_transfer"),
        *("forward_transfer", "worst_cell_accuracy"),
    )
)
"""Metrics that were there from the first record on; a later one may be missing in a record."""


def required() -> frozenset[str]:
    """The metrics that every record has."""
    return FOUNDING


@functools.cache
def _declared(path: tuple[str, ...]) -> tuple[Metric, ...]:
    """The metrics of the packages that are found on ``path``, which is ``sys.path``."""
    found: list[Metric] = []
    for entry in declared(ENTRY_POINT):
        try:
            value = entry.load()
        except Exception as error:
            at = _place(error, _file_of(entry.module))
            raise UsageError(
                f"{ENTRY_POINT}: {entry.value} does not import: {type(error).__name__}: {error}{at}"
            ) from error
        metrics = [*value] if isinstance(value, list | tuple) else [value]
        if not all(isinstance(metric, Metric) for metric in metrics):
            raise UsageError(f"{ENTRY_POINT}: {entry.value} must be a Metric or a list of them")
        found += metrics
    names = [metric.name for metric in (*BUILTIN, *found)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{ENTRY_POINT}: the metric {name!r} is declared twice; rename yours")
    return tuple(found)


def _file_of(module: str) -> Path | None:
    """The file of a module that may not import."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _place(error: Exception, file: Path | None, otherwise: int | None = None) -> str:
    """`` (theirs.py line 7)``: where in a file an error arose; empty where nothing is known."""
    line = (line_of(error, file) or otherwise) if file else None
    return f" ({file.name} line {line})" if file and line else ""


def _earlier(counts: Counts) -> np.ndarray:
    """``(T,)`` bool: tasks evaluated right after they were learnt, and again later."""
    return (
        counts.measured
        & (counts.right_after >= 0)
        & (counts.right_after < len(counts.evaluated_after) - 1)
    )


def _at_the_end(counts: Counts, views: np.ndarray) -> np.ndarray:
    """``(n,)``: the accuracy on views at the last evaluation."""
    return counts.accuracy_on(np.full(len(views), len(counts.correct) - 1), views)


def _mean(values: np.ndarray) -> Value:
    return Value(float(values.mean()), len(values)) if len(values) else UNDEFINED


def _weighted(values: np.ndarray, weights: np.ndarray) -> Value:
    if weights.sum() == 0:
        return UNDEFINED
    return Value(float((values * weights).sum() / weights.sum()), int((weights > 0).sum()))
