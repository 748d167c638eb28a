"""Curves of online accuracy: in a sliding window with the blind baseline, and by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.results.online import by_task, sliding

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from clbench.results.arms import Arm
    from clbench.results.record import Record

BLIND: dict[str, Any] = {"color": "#888888", "ls": "--", "lw": 1.2}
MOST_MARKERS = 60


def plot_window(records: Sequence[Record], axes: Axes) -> None:
    """Online accuracy in the sliding window against experiences, a line per run, and the baseline."""
    for record in records:
        found = record.to_counts().online
        if found is None:
            continue
        at = np.arange(1, len(found.size) + 1)
        axes.plot(at, sliding(found.correct, found.size, found.window))
        axes.plot(at, sliding(found.blind, found.size, found.window), **BLIND, zorder=1)
        axes.set_ylabel(f"online accuracy, last {found.window} experiences")
    _finish(axes, "experiences")


def plot_tasks(records: Sequence[Record], axes: Axes) -> None:
    """Online accuracy of each task, a line per run, and the baseline."""
    for record in records:
        counts = record.to_counts()
        found, n = counts.online, len(counts.task_end)
        if found is None:
            continue
        look = "o-" if n <= MOST_MARKERS else "-"
        axes.plot(range(n), by_task(found.correct, found.size, counts.task_end), look)
        axes.plot(range(n), by_task(found.blind, found.size, counts.task_end), **BLIND, zorder=1)
    axes.set_ylabel("online accuracy of the task")
    _finish(axes, "task")


def plot_arms(arms: Mapping[str, Arm], axes: Axes) -> None:
    """Online accuracy in the sliding window, one line per arm: the mean over seeds, and the range."""
    for name, arm in arms.items():
        found = [f for f in (r.to_counts().online for r in arm.records) if f is not None]
        n = min(len(f.size) for f in found)
        at = np.arange(1, n + 1)
        lines = np.stack([sliding(f.correct, f.size, f.window)[:n] for f in found])
        axes.plot(at, lines.mean(0), label=name)
        axes.fill_between(at, lines.min(0), lines.max(0), alpha=0.2)
        blind = np.stack([sliding(f.blind, f.size, f.window)[:n] for f in found]).mean(0)
        axes.plot(at, blind, **BLIND, zorder=1)
    axes.set_ylabel("online accuracy in the window (dashed: the last label repeated)")
    _finish(axes, "experiences")


def _finish(axes: Axes, along: str) -> None:
    axes.set(xlabel=along, ylim=(0, 1.02))
    axes.grid(alpha=0.3)
