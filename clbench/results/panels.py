"""Figures of many runs: a panel for each scenario, or for each arm, of what was asked for."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clbench.errors import UsageError
from clbench.results import panel_kinds as kinds
from clbench.results.arms import Arm, by_arm
from clbench.results.intervals import t_interval
from clbench.util.atomic import write_atomically
from clbench.util.console import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clbench.results.record import Record

MOST_PANELS = 24


class Kind(NamedTuple):
    """One thing that can be drawn."""

    draw: Callable[[Sequence[Arm], Axes], None]
    """Draws arms of one scenario, the best first; one arm alone where ``each`` is set."""
    help: str
    each: bool = False
    """Whether every arm has a panel of its own."""
    has: Callable[[Record], bool] = lambda record: True
    """Whether a record has what it takes."""


KINDS = {
    "curves": Kind(
        kinds.curves, "accuracy over the stream, and online accuracy where there is any"
    ),
    "matrix": Kind(
        kinds.matrix,
        f"accuracy on each task after each task, of at most {kinds.MOST_TASKS:,}",
        True,
        lambda r: 0 < len(r.tasks["end"]) <= kinds.MOST_TASKS,
    ),
    "forgetting": Kind(kinds.forgetting, "what of each task's best accuracy is lost at the end"),
    "classes": Kind(kinds.classes, "accuracy of each class over the stream", True),
    "confusion": Kind(
        kinds.confusion, "answers by class at the end", True, lambda r: r.answers is not None
    ),
    "bytes": Kind(kinds.against_bytes, "accuracy at the end against bytes of state"),
    "operations": Kind(kinds.against_operations, "accuracy at the end against training operations"),
}
"""What ``--plot-kind`` takes; the first is drawn where nothing is said."""


def save(records: Sequence[Record], path: Path, kind: str = "curves") -> None:
    """Draw completed runs into a file.

    Raises:
        UsageError: the records lack what the kind draws, there are too many panels, the ending is not
            one that matplotlib writes, or the folder cannot be written.
    """
    figure = draw(records, kind)
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format=path.suffix.removeprefix("."), dpi=120)
    except ValueError as error:
        raise UsageError(f"--plot {path}: {str(error).splitlines()[0]}") from error
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: no such folder {path.parent}")
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise UsageError(f"--plot {one_line(str(error))}") from error


def draw(records: Sequence[Record], kind: str = "curves") -> Figure:
    """A figure of completed runs.

    Raises:
        UsageError: the records lack what the kind draws, or there are too many panels.
    """
    from clbench.results.figure import Figure

    asked = KINDS[kind]
    done = [r for r in records if r.status == "completed" and r.counts["correct"] and asked.has(r)]
    arms = by_arm(done)
    if not arms:
        raise UsageError(f"--plot-kind {kind}: no completed run has what it takes ({asked.help})")
    panels: list[tuple[str, list[Arm], Callable[[Sequence[Arm], Axes], None]]] = []
    for scenario in dict.fromkeys(arm.scenario for arm in arms):
        own = sorted((arm for arm in arms if arm.scenario == scenario), key=_rank)
        if asked.each:
            panels += [(f"{scenario}: {titled(arm)}", [arm], asked.draw) for arm in own]
            continue
        data = ", ".join(dict.fromkeys(arm.records[0].config["data"]["name"] for arm in own))
        panels.append((f"{scenario} on {data}", own, asked.draw))
        online = [arm for arm in own if all(r.online is not None for r in arm.records)]
        if kind == "curves" and online:
            panels.append((f"{scenario} on {data}, before learning", online, kinds.online))
    if len(panels) > MOST_PANELS:
        raise UsageError(
            f"--plot-kind {kind}: {len(panels)} panels, at most {MOST_PANELS}: give a folder with "
            "fewer runs"
        )
    n_columns = min(len(panels), 2 if len(panels) in (2, 4) else 3)
    n_rows = math.ceil(len(panels) / n_columns)
    wide = 7.5 if len(panels) == 1 else 6
    figure = Figure(figsize=(wide * n_columns, 4.6 * n_rows), layout="constrained")
    every = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (title, own, draw_one) in zip(every, panels, strict=False):
        draw_one(own, axes)
        axes.set_title(kinds.plain_text(title), fontsize=10)
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    return figure


def titled(arm: Arm) -> str:
    """An arm with its accuracy at the end and how many seeds that is a mean of."""
    return f"{arm.name} {100 * _final(arm):.1f} % (n={len(arm.records)})"


def _final(arm: Arm) -> float:
    return t_interval([kinds.headline(r) for r in arm.records]).mean or 0.0


def _rank(arm: Arm) -> float:
    return -_final(arm)
