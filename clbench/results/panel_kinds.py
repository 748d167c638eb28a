"""What a panel of a figure can show of arms: curves, matrices, and accuracy against costs.

Arms come sorted, the best first. Lines are means over seeds, shaded from the least to the largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.results import classes as by_class
from clbench.results.arms import Arm
from clbench.results.intervals import t_interval
from clbench.results.online_plots import plot_arms
from clbench.results.presence import first_task
from clbench.util.console import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from clbench.results.record import Record

MOST_NAMED = 12
"""Tasks, classes or arms beyond these get no name of their own."""
MOST_TASKS = 2000
"""The matrix of more tasks takes too much memory."""
MOST_WRITTEN = 12
"""Rows of a matrix whose numbers are still written into it."""


def plain_text(text: str) -> str:
    """Escape what matplotlib would read as a formula, or has no glyph for."""
    return one_line(text).replace("$", r"\$")


def is_cumulative(record: Record) -> bool:
    """Whether every task brings cells that no task had before, as where classes never recur."""
    counts = record.to_counts()
    n, first = len(counts.task_end), first_task(counts.views, counts.view_of_task)
    return n > 1 and {*range(n)} <= {*first.tolist()}


def curve(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """What a run is drawn by: where, and its accuracy in [0, 1].

    Where every task brings something new: accuracy on what the tasks so far had, after each task, whose
    mean is the average incremental accuracy. Else: accuracy on the whole world, at each evaluation.
    """
    counts = record.to_counts()
    if not is_cumulative(record):
        return counts.evaluated_after, counts.world_accuracy
    stages = np.flatnonzero(counts.right_after >= 0)
    seen = first_task(counts.views, counts.view_of_task)[None, :] <= stages[:, None]
    right = (counts.correct[counts.right_after[stages]] * seen).sum(1)
    return stages + 1, right / np.maximum((counts.size * seen).sum(1), 1)


def headline(record: Record) -> float:
    """Accuracy on the whole world at the end."""
    return float(record.to_counts().world_accuracy[-1])


def _label(arm: Arm, value: float) -> str:
    return plain_text(f"{arm.name} {100 * value:.1f} (n={len(arm.records)})")


def _legend(axes: Axes, n: int) -> None:
    """Beside the lines where few; below the panel where they would hide them."""
    small = {"fontsize": 8, "framealpha": 0.85}
    if n <= 6:
        axes.legend(**small)
    else:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, **small)


def whole_numbers(axis: Axis) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def _percent(axes: Axes) -> None:
    axes.set_ylim(0, 102)
    axes.grid(alpha=0.3)


def curves(arms: Sequence[Arm], axes: Axes) -> None:
    """Accuracy over the stream, a line an arm, with the last value in the legend."""
    cumulative = all(is_cumulative(r) for arm in arms for r in arm.records)
    for arm in arms:
        if cumulative:
            found = [curve(r) for r in arm.records]
        else:
            counts = [r.to_counts() for r in arm.records]
            found = [(c.evaluated_after, c.world_accuracy) for c in counts]
        at = found[0][0]
        lines = 100 * np.stack([np.interp(at, x, y) for x, y in found])
        look = "o-" if cumulative and len(at) <= MOST_NAMED else "-"
        axes.plot(at, lines.mean(0), look, ms=3.5, label=_label(arm, lines.mean(0)[-1] / 100))
        axes.fill_between(at, lines.min(0), lines.max(0), alpha=0.2)
    whole_numbers(axes.xaxis)
    what = "accuracy % on the tasks so far" if cumulative else "world accuracy %"
    axes.set(xlabel="tasks" if cumulative else "experiences", ylabel=what)
    _percent(axes)
    _legend(axes, len(arms))


def online(arms: Sequence[Arm], axes: Axes) -> None:
    """Online accuracy in the sliding window."""
    plot_arms({plain_text(f"{arm.name} (n={len(arm.records)})"): arm for arm in arms}, axes)
    axes.legend(fontsize=8)


def task_matrix(arm: Arm) -> np.ndarray:
    """``(T, T)`` in [0, 1]: accuracy on each task (column) after each (row), a mean over seeds."""
    found = [r.accuracy_matrix().to_numpy() for r in arm.records]
    n = min(map(len, found))
    return np.asarray(np.stack([m[:n, :n] for m in found]).mean(0))


def matrix(arms: Sequence[Arm], axes: Axes) -> None:
    """The task x task accuracy matrix as a heat map; numbers where there is room."""
    values = 100 * task_matrix(arms[0])
    _heat(values, axes, "accuracy %")
    axes.set(xlabel="accuracy on task", ylabel="after task")


def _heat(values: np.ndarray, axes: Axes, title: str, written: np.ndarray | None = None) -> None:
    image = axes.imshow(values, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    axes.figure.colorbar(image, ax=axes, label=title)
    if len(values) <= MOST_WRITTEN:
        shown = values if written is None else written
        for (row, column), value in np.ndenumerate(values):
            if not math.isnan(value):
                text, colour = f"{shown[row, column]:.0f}", "white" if value < 55 else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7.5)
    for axis in (axes.xaxis, axes.yaxis):
        whole_numbers(axis)


def forgetting_by_task(record: Record) -> np.ndarray:
    """``(T,)``: each task's best accuracy since it was learnt, less that at the end.

    NaN where it is undefined, as for the last task; the mean of the others is the metric.
    """
    counts = record.to_counts()
    values = np.full(len(counts.task_end), np.nan)
    accuracy = counts.view_accuracy
    known = counts.measured & (counts.right_after >= 0) & (counts.right_after < len(accuracy) - 1)
    for task in np.flatnonzero(known):
        own = accuracy[counts.right_after[task] :, counts.view_of_task[task]]
        values[task] = own[:-1].max() - own[-1]
    return values


def forgetting(arms: Sequence[Arm], axes: Axes) -> None:
    """Forgetting of each task, a line an arm, the arm of the best accuracy first."""
    for arm in arms:
        found = [forgetting_by_task(r) for r in arm.records]
        n = min(map(len, found))
        lines = 100 * np.stack([f[:n] for f in found])
        at, known = np.arange(n), ~np.isnan(lines).any(0)
        look = "o-" if n <= MOST_NAMED else "-"
        mean = lines.mean(0)[known]
        of = plain_text(f"{arm.name} (n={len(found)})")
        axes.plot(at[known], mean, look, ms=3.5, label=of)
        axes.fill_between(at[known], lines.min(0)[known], lines.max(0)[known], alpha=0.15)
    axes.set(xlabel="task", ylabel="forgetting, points")
    whole_numbers(axes.xaxis)
    axes.set_ylim(bottom=min(-1, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)
    _legend(axes, len(arms))


def classes(arms: Sequence[Arm], axes: Axes) -> None:
    """Accuracy of each class over the stream, of one arm: the mean over seeds that have the class."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for record in arms[0].records:
        counts = record.to_counts()
        for label in np.unique(counts.label):
            own = counts.label == label
            right = counts.correct[:, own].sum(1) / counts.size[own].sum()
            name = by_class.title(record, int(label))
            found.setdefault(name, []).append((counts.evaluated_after, right))
    for number, (name, lines) in enumerate(found.items()):
        at = lines[0][0]
        mean = np.mean([np.interp(at, x, y) for x, y in lines], axis=0)
        look: dict[str, Any] = {"lw": 1.2, "ls": ("-", "--")[number // 10 % 2]}
        named = plain_text(name) if len(found) <= 2 * MOST_NAMED else None
        axes.plot(at, 100 * mean, label=named, alpha=0.9, **look)
    axes.set(xlabel="experiences", ylabel="accuracy of the class %")
    whole_numbers(axes.xaxis)
    _percent(axes)
    if len(found) <= 2 * MOST_NAMED:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def confusion(arms: Sequence[Arm], axes: Axes) -> None:
    """Answers by class at the end, of one arm: counts of all seeds, coloured by share of the class."""
    tables = [r.confusion() for r in arms[0].records]
    counts = np.sum([t.to_numpy() for t in tables if t.shape == tables[0].shape], axis=0)
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    _heat(share, axes, "share of the class %", counts)
    names = [plain_text(str(n)) for n in tables[0].index]
    if len(names) <= MOST_WRITTEN:
        wide = max(map(len, names)) > 3
        axes.set_xticks(range(len(names)), names, rotation=40 if wide else 0, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="answer", ylabel="class")


def against_bytes(arms: Sequence[Arm], axes: Axes) -> None:
    """Accuracy at the end against the bytes of the state."""
    _against(arms, axes, "state_bytes", 1e-3, "state, kB")


def against_operations(arms: Sequence[Arm], axes: Axes) -> None:
    """Accuracy at the end against the operations of training."""
    _against(arms, axes, "train_flops", 1e-9, "training, GFLOP")


def _against(arms: Sequence[Arm], axes: Axes, cost: str, scale: float, title: str) -> None:
    for arm in arms:
        found = t_interval([100 * headline(r) for r in arm.records])
        costs = t_interval([scale * float(r.metric(cost) or 0) for r in arm.records])
        if found.mean is None or not costs.mean:
            continue
        half = found.half_width or 0.0
        low, high = min(half, found.mean), min(half, 100 - found.mean)
        bars = np.array([[max(low, 0)], [max(high, 0)]])
        axes.errorbar(
            costs.mean,
            found.mean,
            yerr=bars,
            fmt="o",
            capsize=3,
            label=_label(arm, found.mean / 100),
        )
        if len(arms) <= MOST_NAMED:
            place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
            text = f"{arm.name} (n={len(arm.records)})"
            axes.annotate(plain_text(text), (costs.mean, found.mean), (6, 4), **place)
    axes.set_xscale("log")
    axes.set(xlabel=f"{title} (log)", ylabel="world accuracy % at the end")
    _percent(axes)
    axes.margins(x=0.25)
    for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        which(lambda value, at: f"{value:g}")
    axes.tick_params(axis="x", which="both", labelsize=7.5)
    if len(arms) > MOST_NAMED:
        _legend(axes, len(arms))
