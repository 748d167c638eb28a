"""The figure of ``memory_study.py``: accuracy against bytes, one panel per stream."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clbench.util.atomic import write_atomically

TICKS = (0.2, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
NOTE = """Mean of 5 seeds with 95 % intervals; logit scale. Solid: Kanerva; dashed: memories of samples.
Cross: the network alone, without a memory. Dotted: joint, which keeps all data."""


@dataclass(frozen=True)
class Line:
    """A strategy in a panel."""

    name: str
    color: str
    marker: str
    style: str
    state: list[int]
    """Bytes; empty for a bound, which is a line from end to end."""
    mean: list[float]
    """In [0, 1], per entry of ``state``."""
    half_width: list[float]


@dataclass(frozen=True)
class Panel:
    """A stream."""

    title: str
    lines: list[Line]
    lowest: float
    """Where the scale of the accuracy begins."""


def apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights as near to those wanted as a gap between neighbours allows, in the same order."""
    order = np.argsort(wanted, kind="stable")
    groups: list[tuple[int, float]] = []  # of neighbours that touch: how many, and their mean
    for height in np.asarray(wanted)[order]:
        groups.append((1, float(height)))
        while len(groups) > 1:
            (m, low), (n, high) = groups[-2:]
            if high - low >= gap * (m + n) / 2:
                break
            groups[-2:] = [(m + n, (m * low + n * high) / (m + n))]
    heights = [mean + gap * (k - (n - 1) / 2) for n, mean in groups for k in range(n)]
    found = np.empty(len(heights))
    found[order] = heights
    return [float(height) for height in found]


def draw(panels: Sequence[Panel], budgets: Sequence[int], path: Path) -> None:
    """Four panels and a note, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.8), layout="constrained")
    for panel, at in zip(panels, figure.subplots(2, 2).flat, strict=True):
        _draw_panel(panel, budgets, at)
    figure.supxlabel(NOTE, x=0.01, ha="left", fontsize=9, color="#444444")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())


def _draw_panel(panel: Panel, budgets: Sequence[int], axes: Any) -> None:
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xscale("log")
    axes.set_yscale("logit")
    axes.set(xlim=(0.44 * budgets[0], 1.1 * budgets[-1]), ylim=(panel.lowest, 0.985))
    ticks = [tick for tick in TICKS if tick >= panel.lowest]
    axes.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    names = [f"{b / 1e6:g} MB" if b >= 1e6 else f"{b / 1e3:g} kB" for b in budgets]
    axes.set_xticks(budgets, names, fontsize=9)
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="bytes of all state", ylabel="world accuracy at the end")
    if not panel.lines:
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", color="#777777")
        return
    for line in panel.lines:
        _draw_line(line, budgets[-1], axes)
    scale = axes.transData + axes.transAxes.inverted()
    wanted = [scale.transform((budgets[-1], line.mean[-1]))[1] for line in panel.lines]
    for line, at, label in zip(panel.lines, wanted, apart(wanted, 0.052), strict=True):
        axes.annotate(
            line.name, (0.97, at), (1.04, label), "axes fraction", "axes fraction",
            color=line.color, fontsize=9, va="center", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": line.color, "lw": 0.6, "shrinkA": 0, "shrinkB": 0,
                "relpos": (0, 0.5),  # the text's left edge: a line to its middle crosses others
            },
        )  # fmt: skip


def _draw_line(line: Line, right: int, axes: Any) -> None:
    if not line.state:
        axes.axhline(line.mean[0], color=line.color, lw=1, ls=":")
        return
    y, half = np.array(line.mean), np.array(line.half_width)
    error = [np.minimum(half, y - 0.01), np.minimum(half, 0.995 - y)]
    look = {"color": line.color, "marker": line.marker, "ls": line.style}
    axes.errorbar(line.state, y, error, **look, lw=1.8, ms=6, elinewidth=1)
    if len(y) == 1:
        axes.plot([line.state[0], right], [y[0], y[0]], color=line.color, lw=0.8, ls=":")
