"""Curves over the stream, as pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clbench.results import classes
from clbench.results.arms import by_arm, labels
from clbench.results.online_plots import plot_tasks, plot_window
from clbench.results.panel_kinds import plain_text
from clbench.results.repeats import without_repeats
from clbench.util.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clbench.results.record import Record

MEASURED = ("rankme", "dead_units", "weight_norm", "plasticity")
"""Diagnostics of ``clbench.engine.diagnostics`` that have a panel of their own."""
FACTORS_SHOWN = 4
"""Those in whose brackets accuracy differs most."""
MOST_TICKS = 15


def plot_curves(records: Sequence[Record], axes: Axes | None = None) -> Axes:
    """World accuracy against experiences, one line per run."""
    if axes is None:
        import matplotlib.pyplot as plt

        axes = plt.figure(figsize=(6, 4), layout="constrained").add_subplot()
    arms = by_arm(records)
    names = {id(r): name for name, arm in zip(labels(arms), arms, strict=True) for r in arm.records}
    for record in without_repeats(records):
        counts = record.to_counts()
        label = plain_text(f"{names[id(record)]} seed {record.seed}")
        axes.plot(counts.evaluated_after, counts.world_accuracy, label=label)
    axes.set(xlabel="experiences", ylabel="world accuracy", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def plot_diagnostic(records: Sequence[Record], name: str, axes: Axes) -> None:
    """One diagnostic against experiences; nothing where it is undefined."""
    for record in records:
        values = [math.nan if v is None else v for v in record.diagnostics.get(name, [])]
        axes.plot(record.counts["evaluated_after"][: len(values)], values)
    axes.set(xlabel="experiences", ylabel=name)
    axes.grid(alpha=0.3)


def plot_factor(records: Sequence[Record], number: int, axes: Axes) -> None:
    """Final accuracy in the brackets of a factor, the one that comes ``number``-th for the first."""
    from clbench.results.factors import final

    first = final([records[0].factors or {}])[number]
    for record in records:
        for found in final([record.factors or {}]):
            if found.factor == first.factor:
                axes.plot(range(len(found.accuracy)), found.accuracy, "o-")
    few = first.brackets if len(first.brackets) <= MOST_TICKS else ()
    axes.set_xticks(range(len(few)), few, rotation=30, ha="right", fontsize=7)
    axes.set(xlabel=first.factor, ylabel="final accuracy", ylim=(0, 1.02))
    axes.grid(alpha=0.3)


def plot_classes(records: Sequence[Record], axes: Axes) -> None:
    """Final accuracy of each class; the ticks are the classes' names."""
    ticks: dict[str, int] = {}
    for record in records:
        if record.counts["correct"]:
            known, _, accuracy = classes.final(record)
            at = [ticks.setdefault(classes.title(record, c), len(ticks)) for c in known]
            axes.plot(at, accuracy, "o")
    axes.set_xticks([*ticks.values()], [plain_text(t) for t in ticks], rotation=30, ha="right")
    axes.tick_params(axis="x", labelsize=7)
    axes.set(xlabel="class", ylabel="final accuracy", ylim=(0, 1.02))
    axes.grid(alpha=0.3)


def save_curve(records: Sequence[Record], path: Path) -> None:
    """The overview of a run as a PNG; needs no display."""
    buffer = io.BytesIO()
    overview(records).savefig(buffer, format="png", dpi=100)
    write_atomically(path, buffer.getvalue())


def overview(records: Sequence[Record]) -> Figure:
    """A run's curve, retention, frequency where classes differ in it, and named classes.

    Below them, where there are any, the diagnostics that a run can switch on, the factors, and online
    accuracy.
    """
    from matplotlib.figure import Figure

    from clbench.results.factors import final

    measured = [name for name in MEASURED if any(name in r.diagnostics for r in records)]
    known = [r for r in records if r.factors is not None and r.factors["correct"]]
    online = [r for r in records if r.online is not None]
    n_rows = 1 + bool(measured) + bool(known) + bool(online)
    n_factors = min(FACTORS_SHOWN, len(final([known[0].factors or {}]))) if known else 0
    figure = Figure(figsize=(13, 4 * n_rows), layout="constrained")
    upper, *lower = figure.subfigures(n_rows, 1, squeeze=False)[:, 0]
    uneven = len({row["frequency"] for r in records for row in r.frequency}) > 1
    # Of many classes the names could not be read; clbench results --classes prints them.
    named = any(r.class_names and len(r.class_names) <= MOST_TICKS for r in records)
    curve, retention, *more = upper.subplots(1, 2 + uneven + named)
    frequency = more[:uneven]
    for axes in more[uneven:]:
        plot_classes(records, axes)
    if online:
        window, tasks = lower.pop().subplots(1, 2)
        plot_window(online, window)
        plot_tasks(online, tasks)
    if known:
        below = lower.pop()
        for number, axes in enumerate(below.subplots(1, n_factors, squeeze=False)[0]):
            plot_factor(known, number, axes)
    for row in lower:
        for name, axes in zip(
            measured, row.subplots(1, len(measured), squeeze=False)[0], strict=True
        ):
            plot_diagnostic(records, name, axes)
    plot_curves(records, curve)
    bins: dict[int, str] = {}
    for record in records:
        rows = record.retention
        bins |= {r["since"]: f"{r['since']}" + ("+" if r["to"] > r["since"] else "") for r in rows}
        # One step a bin: bins double in width.
        at = [sorted(bins).index(r["since"]) for r in rows]
        retention.plot(at, [r["accuracy"] for r in rows], "o-")
        shares = [r["frequency"] for r in record.frequency]
        for axes in frequency:
            axes.scatter(shares, [r["accuracy"] for r in record.frequency])
    retention.set_xticks(range(len(bins)), [bins[since] for since in sorted(bins)])
    retention.set(xlabel="tasks since the class was last seen", ylabel="accuracy", ylim=(0, 1.02))
    for axes in frequency:
        axes.set(xlabel="share of tasks with the class", ylabel="final accuracy", ylim=(0, 1.02))
        axes.locator_params(axis="x", nbins=5)
    for axes in (retention, *frequency):
        axes.grid(alpha=0.3)
    return figure
