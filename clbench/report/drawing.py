"""Plots of a report: lines of arms, accuracy against costs, and heat maps, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clbench.util import heat
from clbench.util.svg import Axis, figure, grid, span
from clbench.util.text import as_html

MOST_POINTS = 100
"""Of a line; more are joined to means."""
MOST_WRITTEN = 6
"""Rows and columns of a heat map whose numbers stand in it."""
MOST_NAMED = 14
"""Rows or columns of a heat map that are named."""


class Line(NamedTuple):
    """An arm's line."""

    id: str
    name: str
    style: str
    x: np.ndarray
    y: np.ndarray
    """In [0, 1], or a difference of such."""
    hidden: bool = False


class Point(NamedTuple):
    """An arm's accuracy and cost."""

    id: str
    name: str
    style: str
    cost: float
    mean: float
    half: float


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line of at most ``MOST_POINTS`` points: means of neighbours, at the last place of each."""
    if len(x) <= MOST_POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), MOST_POINTS)
    return np.array([x[p[-1]] for p in parts]), np.array([y[p].mean() for p in parts])


def lines(shown: Sequence[Line], x_title: str, y_title: str) -> str:
    """Lines over the stream; empty where none has two points."""
    thin = [
        line._replace(x=x, y=y)
        for line in shown
        for x, y in [thinned(line.x, line.y)]
        if len(x) > 1
    ]
    if not thin:
        return ""
    width, height = 920, 360
    low, high = span([float(v) for line in thin for v in (line.y.min(), line.y.max())])
    x = Axis(
        min(float(line.x[0]) for line in thin), max(float(line.x[-1]) for line in thin), 52, 908
    )
    y = Axis(max(low, -1.0), min(high, 1.0), height - 46, 12)
    parts = grid(x, y, x_title, y_title, lambda value: f"{value:,.0f}" if value % 1 == 0 else "")
    for line in reversed(thin):
        points = " ".join(f"{x(a):g},{y(b):g}" for a, b in zip(line.x, line.y, strict=True))
        hidden = ' display="none"' if line.hidden else ""
        parts.append(
            f'<polyline class="line {line.style}" data-arm="{line.id}" points="{points}"{hidden}>'
            f"<title>{as_html(line.name, 80)}</title></polyline>"
        )
    return figure(
        "curves", width, height, f"{y_title}: {len(thin)} arms; the table names them", parts
    )


def against(points: Sequence[Point], x_title: str, y_title: str) -> str:
    """Accuracy against a cost on a log axis, with 95 % bars; empty where nothing costs anything."""
    points = [point for point in points if point.cost > 0]
    if not points:
        return ""
    width, height = 520, 340
    costs = [p.cost for p in points]
    low, high = span([p.mean for p in points], 0.12)
    x = Axis(min(costs) / 1.5, max(costs) * 1.8, 52, width - 12, log=True)
    y = Axis(max(low, -0.01), min(high, 1.01), height - 46, 14)
    parts = grid(x, y, f"{x_title} (log)", y_title, lambda value: f"{value:g}")
    for p in points:
        top, bottom = (max(y.stop, min(y.start, y(v))) for v in (p.mean + p.half, p.mean - p.half))
        a = x(p.cost)
        label = f"{p.name}: {y_title} {100 * p.mean:.1f}, {x_title} {p.cost:,.4g}"
        parts.append(
            f'<g class="point {p.style}" data-arm="{p.id}"><title>{as_html(label)}</title>'
            f'<line x1="{a}" x2="{a}" y1="{top}" y2="{bottom}"/>'
            f'<circle cx="{a}" cy="{y(p.mean)}" r="4.5"/></g>'
        )
    summary = f"{y_title} against {x_title} of {len(points)} arms; the table has the numbers"
    return figure("pareto", width, height, summary, parts)


def heat_map(
    values: np.ndarray,
    summary: str,
    across: str,
    down: str,
    columns: Sequence[str],
    rows: Sequence[str],
) -> str:
    """A heat map of shares, with the names of its columns and rows where they are few.

    Args:
        values: ``(rows, columns)`` in [0, 1]; NaN: not known.
        summary: what it shows, in a sentence.
        across: title of the columns.
        down: title of the rows.
        columns: their names; the first and last are shown where they are many.
        rows: likewise.
    """
    left = 30 + 6.2 * min(14, max(map(len, rows), default=0))
    side, low = 300, 300 if len(rows) == len(columns) else min(300, max(90, 16 * len(rows)))
    parts = [
        f'<image class="cells" x="{left:g}" y="8" width="{side}" height="{low}" '
        f'preserveAspectRatio="none" href="{heat.address(values)}"/>'
    ]
    if max(values.shape) <= MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(values):
            x, y = left + (column + 0.5) * side / len(columns), 8 + (row + 0.5) * low / len(rows)
            ink = "light" if value < 0.55 else "dark"
            text = "" if np.isnan(value) else f"{100 * value:.0f}"
            parts.append(f'<text class="{ink}" x="{x:.0f}" y="{y + 4:.0f}">{text}</text>')
    for at, name in _named(rows):
        y = 8 + (at + 0.5) * low / len(rows) + 4
        parts.append(
            f'<text x="{left - 6:g}" y="{y:.1f}" text-anchor="end">{as_html(name, 14)}</text>'
        )
    for at, name in _named(columns):
        x = left + (at + 0.5) * side / len(columns)
        parts.append(
            f'<text x="{x:.1f}" y="{low + 23}" text-anchor="middle">{as_html(name, 6)}</text>'
        )
    middle = left + side / 2
    parts.append(
        f'<text class="title" x="{middle:g}" y="{low + 42}" text-anchor="middle">'
        f"{as_html(across)}</text>"
        f'<text class="title" transform="translate(12 {8 + low / 2:g}) rotate(-90)" '
        f'text-anchor="middle">{as_html(down)}</text>'
    )
    return figure("matrix", round(left + side + 8), low + 50, summary, parts)


def _named(names: Sequence[str]) -> list[tuple[int, str]]:
    """Which are written: all where few, else the first, the last and some between."""
    if len(names) <= MOST_NAMED:
        return list(enumerate(names))
    picked = sorted({round(k * (len(names) - 1) / 4) for k in range(5)})
    return [(at, names[at]) for at in picked]


def scale() -> str:
    """The colours of the heat maps, from 0 to 100 %."""
    row = heat.address(np.linspace(0, 1, heat.LEVELS)[None, :])
    parts = [
        f'<image class="cells" x="0" y="2" width="200" height="12" preserveAspectRatio="none" '
        f'href="{row}"/>',
        '<text x="0" y="28">0 %</text><text x="200" y="28" text-anchor="end">100 %</text>',
    ]
    return figure("scale", 204, 32, "Colours from 0 to 100 percent", parts)
