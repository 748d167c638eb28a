"""Draws the figures of plug-ins' pages as inline SVG, from the file of example runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.util.svg import Axis, figure, grid
from clbench.util.text import as_html

STYLES = ("a", "b", "c")


def caption(svg: str, text: str, narrow: bool = False) -> str:
    """A figure of a page; empty where there is no picture."""
    extra = " narrow" if narrow else ""
    return (
        f'<figure class="clb{extra}">{svg}<figcaption>{text}</figcaption></figure>' if svg else ""
    )


def lines(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy over the stream of up to three runs, by their names; the first is in front."""
    shown = {
        name: [(x, y) for x, y in zip(run["x"], run["y"], strict=True) if y is not None]
        for name, run in runs.items()
    }
    shown = {name: points for name, points in shown.items() if len(points) > 1}
    if not shown:
        return ""
    width, height = 760, 300
    last = max(points[-1][0] for points in shown.values())
    x = Axis(min(points[0][0] for points in shown.values()), last, 52, 640)
    y = Axis(0.0, 1.0, height - 46, 12)
    cumulative = all(run["cumulative"] for run in runs.values())
    title = "accuracy % on the tasks so far" if cumulative else "world accuracy %"
    write = _whole if last < 1000 else lambda value: f"{value:,.0f}"
    parts = grid(x, y, "tasks" if cumulative else "experiences", title, write)
    ends = _apart([y(points[-1][1]) for points in shown.values()], 15)
    for (name, points), style, end in reversed(
        [*zip(shown.items(), STYLES[: len(shown)], ends, strict=True)]
    ):
        drawn = " ".join(f"{x(a):g},{y(b):g}" for a, b in points)
        parts.append(f'<polyline class="line {style}" points="{drawn}"/>')
        parts.append(f'<text class="{style}" x="646" y="{end + 4:g}">{as_html(name)}</text>')
    return figure("curves", width, height, f"{title} of {', '.join(shown)}", parts)


def _whole(value: float) -> str:
    return f"{value:.0f}" if value % 1 == 0 else ""


def _apart(values: Sequence[float], least: float) -> list[float]:
    """Heights of labels, moved so that none covers another."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = list(values)
    for before, after in itertools.pairwise(order):
        found[after] = max(found[after], found[before] + least)
    return found


def matrix(values: Sequence[Sequence[float | None]], side: int = 52) -> list[str]:
    """Cells of accuracy on each task (columns) after each task (rows), and their numbers."""
    parts = []
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            if value is None:
                continue
            a, b = 60 + column * side, 14 + row * side
            parts.append(
                f'<rect class="cell" x="{a}" y="{b}" width="{side - 2}" height="{side - 2}" '
                f'fill-opacity="{0.08 + 0.5 * value:.2f}"/>'
                f'<text x="{a + side / 2 - 1:g}" y="{b + side / 2 + 4:g}" text-anchor="middle">'
                f"{100 * value:.0f}</text>"
            )
    n, m = len(values), len(values[0])
    for at in range(m):
        parts.append(
            f'<text class="soft" x="{60 + (at + 0.5) * side:g}" y="{30 + n * side}" '
            f'text-anchor="middle">{at}</text>'
        )
    for at in range(n):
        parts.append(
            f'<text class="soft" x="50" y="{18 + (at + 0.5) * side:g}" text-anchor="end">{at}</text>'
        )
    parts.append(
        f'<text class="title" x="{60 + m * side / 2:g}" y="{50 + n * side}" text-anchor="middle">'
        "accuracy % on task</text>"
        f'<text class="title" transform="translate(20 {14 + n * side / 2:g}) rotate(-90)" '
        'text-anchor="middle">after task</text>'
    )
    return parts


def task_matrix(run: Mapping[str, Any]) -> str:
    """The task × task matrix of a run; empty where it has none."""
    values = run["matrix"]
    if not values:
        return ""
    side = 52 if len(values) < 7 else 40
    parts = matrix(values, side)
    width = 76 + side * len(values[0])
    return figure(
        "matrix", width, 60 + side * len(values), "Accuracy by task, after each task", parts
    )


def stream(found: Mapping[str, Any], height: int = 16) -> str:
    """Which samples come when: the darker a cell, the more samples of that row come."""
    counts = found["counts"]
    if not counts:
        return ""
    height = height if len(counts) <= 20 else max(5, 320 // len(counts))
    columns = len(counts[0])
    wide = 660 / columns
    most = max(max(row) for row in counts)
    parts = []
    for at, (row, name) in enumerate(zip(counts, found["rows"], strict=True)):
        for column, count in enumerate(row):
            if count:
                share = 0.25 + 0.75 * math.sqrt(count / most)
                parts.append(
                    f'<rect class="cell" x="{72 + column * wide:.1f}" y="{10 + at * height}" '
                    f'width="{max(1, wide - 1.5):.1f}" height="{height - 1.5:g}" '
                    f'fill-opacity="{share:.2f}"><title>{found["row"]} {name}: {count} samples'
                    "</title></rect>"
                )
        if height >= 12 or at % 10 == 0:
            parts.append(
                f'<text class="soft" x="66" y="{10 + (at + 0.5) * height + 4:g}" '
                f'text-anchor="end">{as_html(name)}</text>'
            )
    low = 10 + len(counts) * height
    step = found["step"]
    unit = "task" if step == 1 and found["total"] <= 200 else "experience"
    for at in {*range(0, columns, max(1, columns // 10))}:
        parts.append(
            f'<text class="soft" x="{72 + (at + 0.5) * wide:.1f}" y="{low + 16}" '
            f'text-anchor="middle">{at * step}</text>'
        )
    parts.append(
        f'<text class="title" x="402" y="{low + 36}" text-anchor="middle">{unit}</text>'
        f'<text class="title" transform="translate(14 {10 + len(counts) * height / 2:g}) rotate(-90)" '
        f'text-anchor="middle">{found["row"]}</text>'
    )
    summary = f"Samples by {found['row']} and {unit}"
    return figure("stream", 748, low + 46, summary, parts)
