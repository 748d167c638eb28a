"""Plots as inline SVG; colours are classes, so the page's style decides; texts are escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clbench.leaderboard.pages.columns import number
from clbench.leaderboard.pages.summary import EntryRow, SeedScore
from clbench.results.tables import Column
from clbench.util.svg import Axis as Axis
from clbench.util.svg import figure, grid
from clbench.util.svg import round_step as round_step
from clbench.util.svg import span as span
from clbench.util.text import as_html

N_COLOURS = 8
"""Colours of the page; entries beyond them are dashed, in the same order."""
LETTER = 6.2
"""Pixels that a letter of a label is taken to be wide."""


def curves(rows: Sequence[EntryRow], style: dict[str, str], off: set[str]) -> str:
    """World accuracy over the stream, one line per entry; those in ``off`` start hidden."""
    rows = [row for row in rows if len(row.curve) > 1]
    if not rows:
        return ""
    width, height = 920, 400
    end = max(row.curve[-1][0] for row in rows) or 1
    shown = [row for row in rows if row.slug not in off] or rows
    # The climb from chance is alike for all; what differs comes after it.
    later = [y for row in shown for x, y in row.curve if x >= end / 10]
    low, high = span(later or [y for row in shown for _, y in row.curve])
    x = Axis(0, end, 52, width - 12)
    y = Axis(max(low, 0), min(high, 1), height - 46, 12)
    parts = [*grid(x, y, "experiences", "world accuracy %", lambda v: f"{v:,.0f}")]
    box = f'x="{x.start}" y="{y.stop}" width="{x.stop - x.start}" height="{y.start - y.stop}"'
    parts.append(f'<clipPath id="inside"><rect {box}/></clipPath><g clip-path="url(#inside)">')
    for row in reversed(rows):
        points = " ".join(f"{x(a):g},{y(b):g}" for a, b in row.curve)
        hidden = ' display="none"' if row.slug in off else ""
        parts.append(
            f'<polyline class="line {style[row.slug]}" data-entry="{as_html(row.slug)}" '
            f'points="{points}"{hidden}><title>{as_html(row.name, 60)}</title></polyline>'
        )
    parts.append("</g>")
    summary = f"World accuracy over the stream of {len(rows)} entries; the legend names them"
    return figure("curves", width, height, summary, parts)


def pareto(
    rows: Sequence[EntryRow],
    style: dict[str, str],
    gain: Column,
    cost: Column,
    anchors: Sequence[tuple[str, float]],
) -> str:
    """Primary against a cost on a log axis, with 95 % bars and the front of each division."""
    shown = [
        (row, row.values[cost.key].mean, row.primary.mean) for row in rows if row.comparable_cost
    ]
    points = [(row, c, p) for row, c, p in shown if c and c > 0 and p is not None]
    # A failed seed scores 0: such a mean would squeeze all the others into a line.
    inside = [p for row, _, p in points if not row.failed] or [p for _, _, p in points]
    if not points:
        return ""
    width, height = 520, 380
    costs = [c for _, c, _ in points]
    low, high = span(inside + [v for _, v in anchors])
    x = Axis(min(costs) / 1.5 * cost.scale, max(costs) * 1.8 * cost.scale, 52, width - 12, log=True)
    y = Axis(low, high, height - 46, 14)
    parts = grid(x, y, f"{cost.title} (log)", gain.title, lambda v: f"{v:g}")
    taken = []
    for name, value in anchors:
        # A ceiling is rarely cheap and a floor rarely expensive, so these ends have room.
        left = value > (low + high) / 2
        at, side = (x.start + 4, "start") if left else (x.stop - 4, "end")
        parts.append(
            f'<line class="anchor" x1="{x.start}" x2="{x.stop}" y1="{y(value)}" y2="{y(value)}"/>'
            f'<text class="note" x="{at}" y="{y(value) - 4:g}" text-anchor="{side}">'
            f"{as_html(name)}</text>"
        )
        wide = LETTER * len(name)
        taken.append((at, at + wide, y(value) - 4) if left else (at - wide, at, y(value) - 4))
    for division in sorted({row.division for row, _, _ in points}):
        members = [(c * cost.scale, p) for row, c, p in points if row.division == division]
        parts.append(_staircase(division, [m for m in members if m[1] >= low], x, y))
    spots = [(x(c * cost.scale), y(max(p, low))) for _, c, p in points]
    placed = [*taken, *((a - 6, a + 6, b + 4) for a, b in spots)]
    labels = []
    for (row, c, p), (a, b) in zip(points, spots, strict=True):
        half = 0.0 if row.failed else row.primary.half_width or 0.0
        top, bottom = (max(y.stop, min(y.start, y(v))) for v in (p + half, p - half))
        label = f"{row.name}: {gain.title} {number(p, gain)}, {cost.title} {number(c, cost)}"
        parts.append(
            f'<g class="point {style[row.slug]}" data-entry="{as_html(row.slug)}">'
            f"<title>{as_html(label)}</title>"
            f'<line x1="{a}" x2="{a}" y1="{top}" y2="{bottom}"/>'
            f'<circle cx="{a}" cy="{b}" {_FILLED if row.on_front else _HOLLOW}/></g>'
        )
        if len(points) <= 30 or row.on_front:
            labels += _label(row, a, b, x, y, placed)
    summary = (
        f"{gain.title} against {cost.title} of {len(points)} entries; the table has the numbers"
    )
    return figure("pareto", width, height, summary, parts + labels)


_FILLED, _HOLLOW = 'r="5"', 'r="4" class="hollow"'


NARROW, WIDE = 120, 420
"""Widths of a strip, in a table and as the picture of a ranking."""


def strip(
    seeds: Sequence[SeedScore],
    mean: float,
    half: float,
    low: float,
    high: float,
    width: int = NARROW,
    marks: Sequence[float] = (),
) -> str:
    """One entry's seeds as points on a common scale, under its mean and interval, with thin marks."""
    x = Axis(low, high, 6, width - 6)
    parts = [f'<path class="base" d="M{x(v)} 1V17"/>' for v in marks if low <= v <= high]
    if mean + half >= low and mean - half <= high:
        left, right = x(max(low, mean - half)), x(min(high, mean + half))
        parts.append(
            f'<rect x="{left}" y="6" width="{max(1.0, right - left):.1f}" height="6" rx="3"/>'
        )
    for seed in seeds:
        if seed.score < low:
            parts.append('<path d="M1 6l6 6M7 6l-6 6"/>')
        else:
            parts.append(f'<circle cx="{x(seed.score)}" cy="9" r="2.6"/>')
    label = ", ".join(
        f"seed {s.seed} {100 * s.score:.1f}" + ("" if s.status == "completed" else f" {s.status}")
        for s in seeds
    )
    return (
        f'<svg class="strip" viewBox="0 0 {width} 18" width="{width}" height="18" role="img" '
        f'aria-label="{as_html(label, 400)}"><title>{as_html(label, 400)}</title>'
        f"{''.join(parts)}</svg>"
    )


def rank_bar(place: int, places: tuple[int, int], n: int) -> str:
    """An entry's range of places on a scale from 1 to n, and its place by mean."""
    x = Axis(1, max(2, n), 6, 114)
    low, high = places
    label = f"rank {low}" if low == high else f"rank {low} to {high}"
    left, right = x(low) - 4, x(high) + 4
    return (
        '<svg class="strip" viewBox="0 0 120 18" width="120" height="18" role="img" '
        f'aria-label="{label}"><title>{label}</title><path class="base" d="M2 9H118"/>'
        f'<rect class="range" x="{left:.1f}" y="5" width="{right - left:.1f}" height="8" rx="4"/>'
        f'<circle cx="{x(place)}" cy="9" r="3"/></svg>'
    )


def difference(least: float, low: float, high: float) -> str:
    """The critical difference as a bar on the wide strips' scale; cut where it is longer than that."""
    x = Axis(low, high, 6, WIDE - 6)
    right = min(WIDE - 6.0, x(low + least))
    return (
        f'<svg class="strip" viewBox="0 0 {WIDE} 18" width="{WIDE}" height="18" aria-hidden="true">'
        f'<path class="ruler" d="M6 4V14M6 9H{right}M{right} 4V14"/></svg>'
    )


def _staircase(division: str, points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    """A division's front in these two dimensions, cheapest first."""
    path, best = "", -math.inf
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if gain > best:
            path += f"M{x(cost)} {y(gain)}" if not path else f"H{x(cost)}V{y(gain)}"
            best = gain
    if not path:
        return ""
    return f'<path class="front" data-front="{as_html(division)}" d="{path}H{x.stop}"/>'


def _label(
    row: EntryRow, a: float, b: float, x: Axis, y: Axis, placed: list[tuple[float, float, float]]
) -> list[str]:
    """A point's name beside it where there is room; the tooltip has it in any case."""
    text = row.slug if len(row.slug) <= 22 else row.slug[:21] + "…"
    wide = LETTER * len(text)
    for dx, dy in ((8, 4), (-8, 4), (7, -7), (7, 15), (-7, -7), (-7, 15), (7, -18), (7, 26)):
        left = a + dx if dx > 0 else a + dx - wide
        top = b + dy
        free = all(abs(top - t) > 11 or left > r or left + wide < le for le, r, t in placed)
        if free and left > x.start and left + wide < x.stop + 8 and y.stop - 4 < top < y.start:
            placed.append((left, left + wide, top))
            anchor = "start" if dx > 0 else "end"
            return [
                f'<text class="name" data-entry="{as_html(row.slug)}" x="{a + dx:g}" y="{top:g}" '
                f'text-anchor="{anchor}">{as_html(text)}</text>'
            ]
    return []


def domain(rows: Sequence[EntryRow]) -> tuple[float, float]:
    """The common scale of the strips: all completed seeds of ranked entries."""
    scores = [s.score for row in rows if row.ranked for s in row.seeds if s.status == "completed"]
    return span([float(v) for v in np.array(scores)], margin=0.03)
