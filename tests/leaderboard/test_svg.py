"""Plots of the pages: texts that do not cover one another."""

from __future__ import annotations

import re
from pathlib import Path

import synthetic

from clbench.leaderboard.pages.columns import by_key
from clbench.leaderboard.pages.summary import summarise
from clbench.leaderboard.pages.svg import LETTER, pareto

TEXT = re.compile(
    r'<text class="(note|name)"[^>]*? x="([^"]+)" y="([^"]+)" text-anchor="(\w+)">([^<]+)'
)


def boxes(svg: str, wanted: str) -> list[tuple[float, float, float]]:
    """Left, right and base line of each text of a class."""
    found = []
    for kind, x, y, anchor, text in TEXT.findall(svg):
        wide = LETTER * len(text)
        left = float(x) - (wide if anchor == "end" else 0)
        if kind == wanted:
            found.append((left, left + wide, float(y)))
    return found


def test_names_of_entries_leave_those_of_anchors_free(tmp_path: Path):
    """Also where a point lies just before the text of an anchor, at either end."""
    board = synthetic.showcase(tmp_path / "scole-digits", n_tasks=30)
    rows = [row for row in summarise(board, synthetic.validate) if row.ranked]
    style = {row.slug: "s0" for row in rows}
    gain, cost = by_key()[board.primary], by_key()["train_flops"]
    for row in rows:
        assert row.primary.mean is not None
        level = row.primary.mean
        svg = pareto(rows, style, gain, cost, [("an anchor of some length", level)])
        [(left, right, base)] = boxes(svg, "note")
        names = boxes(svg, "name")
        assert names
        for start, stop, y in names:
            assert abs(y - base) > 11 or stop < left or start > right
