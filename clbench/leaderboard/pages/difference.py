"""What a contribution changes in the tables: computed where it runs, commented as a claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval, MaxLen
from pydantic import FailFast

from clbench.configure.board import Board, list_boards
from clbench.leaderboard.entry import MAX_ENTRIES
from clbench.leaderboard.forms import RowForm
from clbench.leaderboard.pages.summary import EntryRow, Validate, summarise
from clbench.util import schema
from clbench.util.files import FileError, read_json
from clbench.util.schema import Form
from clbench.util.text import as_markdown

MAX_ROWS = 200
SHOWN = 30
"""Rows of a comment."""
LARGEST = 1000.0
"""Of a primary and its half width: beyond any metric that ranks, so that a cell stays short."""

Score = Annotated[float, Interval(ge=-LARGEST, le=LARGEST)]
Place = Annotated[int, Interval(ge=1, le=MAX_ENTRIES)]


class ChangedRowForm(RowForm):
    """A row of a comment, whose numbers are bounded as its texts are."""

    primary: Score | None
    half_width: Score | None
    rank_low: Place | None
    rank_high: Place | None


class DifferenceForm(Form):
    """What changes in the tables of boards."""

    rows: Annotated[list[ChangedRowForm], MaxLen(MAX_ROWS), FailFast()]


def difference(root: Path, against: Path, validate: Validate) -> dict[str, Any]:
    """The entries whose row differs from an earlier state of the boards.

    Args:
        root: the folder of boards.
        against: the earlier one.
        validate: checks an entry.
    """
    before = {board.name: _rows(board, validate) for board in list_boards(against)}
    found = []
    for board in list_boards(root):
        old = before.get(board.name, {})
        found += [row for slug, row in _rows(board, validate).items() if row != old.get(slug)]
    return {"rows": found[:MAX_ROWS]}


def _rows(board: Board, validate: Validate) -> dict[str, dict[str, Any]]:
    return {row.slug: row_of(board, row) for row in summarise(board, validate)}


def row_of(board: Board, row: EntryRow) -> dict[str, Any]:
    """An entry as it is shown, as data of ``RowForm``."""
    low, high = row.rank_range or (None, None)
    return {
        "board": _plain(board.name, 60),
        "entry": row.slug[:60],
        "name": _plain(row.name, 60),
        "division": _plain(row.division, 20),
        "tier": _plain(row.tier_text, 60),
        "primary": _bounded(row.primary.mean),
        "half_width": _bounded(row.primary.half_width),
        "rank_low": low,
        "rank_high": high,
        "errors": [_plain(text, 200) for text in row.errors[:3]],
    }


def _bounded(value: float | None) -> float | None:
    """A number that a comment shows; None of one that no metric gives, so that other rows are shown."""
    return value if value is not None and abs(value) <= LARGEST else None


def _plain(text: str, most: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:most]


def comment(path: Path) -> str:
    """The Markdown of a comment on a file that a stranger may have written.

    It is read as data of a form. No text of it can be a link, a mention, or more than a cell.
    """
    try:
        data = read_json(path)
        wrong = schema.faults(DifferenceForm, data)
    except FileError:
        data, wrong = {}, ["it cannot be read"]
    if wrong:
        return "The file of results that the checks uploaded is malformed, so nothing is shown.\n"
    rows: Sequence[dict[str, Any]] = data["rows"]
    if not rows:
        return "The tables stay as they are.\n"
    return "\n".join([*_lines(rows), ""])


def _lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "What changes in the tables. It was computed on a machine that ran the contribution: a claim,"
    yield "until `clbench verify` has run it where the boards are kept."
    yield ""
    yield "| board | entry | division | tier | primary % | rank | errors |"
    yield "| :--- | :--- | :--- | :--- | ---: | ---: | :--- |"
    for row in rows[:SHOWN]:
        mean, half = row["primary"], row["half_width"]
        score = "–" if mean is None else f"{100 * mean:.2f}"
        score += "" if mean is None or half is None else f" ± {100 * half:.2f}"
        low, high = row["rank_low"], row["rank_high"]
        rank = "–" if None in (low, high) else str(low) if low == high else f"{low}–{high}"
        texts = (row["board"], row["entry"], row["division"], row["tier"])
        cells = [_cell(text) for text in texts]
        yield f"| {' | '.join([*cells, score, rank, _cell('; '.join(row['errors']))])} |"
    if len(rows) > SHOWN:
        yield ""
        yield f"{len(rows) - SHOWN} more are left out."


def _cell(text: str) -> str:
    """A text that mentions nobody and links nowhere, of at most 120 characters."""
    return as_markdown(text, 120).replace("@", "@\u200b").replace("#", "#\u200b")
