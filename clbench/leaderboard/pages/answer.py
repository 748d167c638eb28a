"""What a visitor asks first: who leads, by how much, how sure that is, and the ranks as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clbench.configure.board import Board
from clbench.leaderboard.pages import columns, svg
from clbench.leaderboard.pages.summary import EntryRow
from clbench.leaderboard.ranking import Power, compare, critical_difference, power
from clbench.results.tables import Column, Interval
from clbench.util.text import as_html


class Division(NamedTuple):
    """The verified entries of a division, best first, and their scores ``(entries, seeds)``."""

    name: str
    rows: list[EntryRow]
    scores: np.ndarray


def divisions(board: Board, rows: Sequence[EntryRow]) -> list[Division]:
    """The divisions of a board that have verified entries; claims rank nothing."""
    found = []
    for name in board.divisions:
        members = [row for row in rows if _leads(row, name)]
        scores = np.array([[s.score for s in row.seeds] for row in members], dtype=np.float64)
        if members:
            found.append(Division(name, members, scores.reshape(len(members), -1)))
    return found


def _leads(row: EntryRow, division: str) -> bool:
    return row.ranked and row.is_evidence and row.division == division


def board_power(board: Board, rows: Sequence[EntryRow]) -> Power:
    """How many pairs that differ by a point or more the board tells apart."""
    return power([division.scores for division in divisions(board, rows)])


def power_sentence(board: Board, rows: Sequence[EntryRow]) -> str:
    """The first line of a board: what share of the pairs is told apart."""
    found = board_power(board, rows)
    if not divisions(board, rows):
        return "No entry is verified yet."
    if not found.n_pairs:
        return "No two entries differ by a percentage point or more yet."
    share = 100 * found.n_told / found.n_pairs
    return (
        f"Of the pairs of entries that differ by a percentage point or more, {share:.0f} % are told "
        f"apart ({found.n_told} of {found.n_pairs}; {len(board.seeds)} seeds)."
    )


def leaders(board: Board, division: Division) -> str:
    """Who leads a division, by how much over the next one, and with whom the lead is shared."""
    column = columns.primary(board)
    first = division.rows[0]
    score = columns.with_interval(first.primary, column)
    said = f"{first.name} leads with {score} {column.title}"
    if len(division.rows) == 1:
        return f"{said}; it is the only entry"
    second = division.rows[1]
    gap = compare([*division.scores[0]], [*division.scores[1]]).difference
    by = _points(gap, column.scale)
    shared = sum(row.rank_range is not None and row.rank_range[0] == 1 for row in division.rows[1:])
    many = "one other entry" if shared == 1 else f"{shared} other entries"
    sure = f"{many} may lead as well" if shared else "no other entry may lead"
    return f"{said}, {by} points above {second.name}; at 95 % confidence {sure}"


def _points(gap: Interval, scale: float) -> str:
    mean = 0.0 if gap.mean is None else gap.mean * scale
    if gap.half_width is None:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {gap.half_width * scale:.2f}"


def answer(board: Board, rows: Sequence[EntryRow]) -> str:
    """The box at the top of a board's page."""
    found = divisions(board, rows)
    claims = sum(row.ranked and not row.is_evidence for row in rows)
    if not found:
        told = f"No entry is verified, so none leads; {claims} are claimed."
        return f'<div class="answer"><p>{told}</p></div>' if claims else ""
    items = "".join(
        f"<p><b>{as_html(division.name.capitalize())} division.</b> "
        f"{as_html(leaders(board, division), 400)}.</p>"
        for division in found
    )
    return f'<div class="answer"><p>{as_html(power_sentence(board, rows))}</p>{items}</div>'


def ranks(board: Board, rows: Sequence[EntryRow]) -> str:
    """Each entry's rank range and seeds as pictures, with the explanation beside them."""
    found = divisions(board, rows)
    if not found:
        return ""
    scale = svg.domain(rows)
    body = "".join(_division(board, division, scale) for division in found)
    return (
        '<section class="ranks" aria-label="Rank ranges">'
        f"<div>{body}</div>"
        '<aside class="quiet"><p><b>Rank.</b> The bar goes from the best to the worst place that the '
        "evidence leaves open; the dot is the place by mean. Bars that overlap may belong to equal "
        "entries.</p><p><b>Score.</b> Points are seeds on one scale, the band the 95 % interval of "
        "their mean. Thin lines are the lower anchor and the division's ceiling, where they are on "
        "it.</p>"
        "<p><b>Critical difference.</b> Two typical entries are told apart where their means are at "
        "least this far apart (paired t-tests, Holm's adjustment).</p></aside></section>"
    )


def _division(board: Board, division: Division, scale: tuple[float, float]) -> str:
    column = columns.primary(board)
    n = len(division.rows)
    least = critical_difference(division.scores)
    low, high = (f"{v * column.scale:.1f}" for v in scale)
    ends = f'<span class="ends"><span>{low}</span><span>{high}</span></span>'
    told = ""
    if least is not None:
        far = f"critical difference {least * column.scale:.2f}"
        told = f"<span>{as_html(far)}</span>{svg.difference(least, *scale)}"
    head = (
        f'<li class="head"><span>{as_html(division.name.capitalize())}</span>'
        f"<span>{as_html(column.title)}</span><span>rank 1–{n}</span><span>{told}{ends}</span></li>"
    )
    marks = [board.naive.mean, board.ceiling_of(division.name).mean]
    items = "".join(
        _line(place, row, n, scale, column, marks) for place, row in enumerate(division.rows, 1)
    )
    return f"<ol>{head}{items}</ol>"


def _line(
    place: int,
    row: EntryRow,
    n: int,
    scale: tuple[float, float],
    column: Column,
    marks: Sequence[float],
) -> str:
    mean, half = row.primary.mean or 0.0, row.primary.half_width
    interval = "" if half is None else f" <small>± {columns.number(half, column)}</small>"
    return (
        f'<li data-entry="{as_html(row.slug)}"><a href="#entry-{as_html(row.slug)}">'
        f"{as_html(row.name, 60)}</a>"
        f'<span class="num">{columns.number(mean, column)}{interval}</span>'
        f"{svg.rank_bar(place, row.rank_range or (1, n), n)}"
        f"{svg.strip(row.seeds, mean, half or 0.0, *scale, svg.WIDE, marks)}</li>"
    )
