"""``boards.json``: all boards with their rows, for machines; its JSON Schema is published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import MaxLen

from clbench.configure.board import Board
from clbench.leaderboard.pages.difference import RowForm, row_of
from clbench.leaderboard.pages.summary import EntryRow
from clbench.util.schema import Count, Form, Sha256, Text

VERSION = 1
Boards = Sequence[tuple[Board, Sequence[EntryRow]]]


class CeilingForm(Form):
    """The upper end of a division's scale."""

    strategy: Annotated[str, Text(100)]
    mean: float


class EntryRowForm(RowForm):
    """An entry as the tables show it."""

    strategy: Annotated[str, Text(100)]
    is_evidence: bool
    """Whether its numbers are the verifier's on every seed; if not, they are claims."""
    n_verified: Count
    seeds: Annotated[dict[Annotated[str, Text(20)], float], MaxLen(1000)]
    """The primary by seed."""
    contested: Annotated[list[Annotated[str, Text(1000)]], MaxLen(20)]


class BoardRowsForm(Form):
    """A board, its scale, and its entries in the order of the tables."""

    name: Annotated[str, Text(100)]
    title: Annotated[str, Text(200)]
    protocol: Annotated[str, Text(20)]
    sha256: Sha256
    primary: Annotated[str, Text(60)]
    floor: float
    lower_anchor: float
    ceilings: Annotated[dict[Annotated[str, Text(20)], CeilingForm], MaxLen(4)]
    """By division."""
    repository: Annotated[str, Text(200)]
    """Empty for boards that are kept here; else whose word the ledger is."""
    entries: list[EntryRowForm]


class BoardsForm(Form):
    """All boards."""

    version: Count
    boards: Annotated[list[BoardRowsForm], MaxLen(1000)]


def boards_json(boards: Boards, others: Sequence[tuple[str, Boards]] = ()) -> str:
    """The text of ``boards.json``.

    Args:
        boards: those that are kept here.
        others: those of other repositories, by name.
    """
    found = [_board(board, rows, "") for board, rows in boards]
    found += [_board(b, rows, name) for name, theirs in others for b, rows in theirs]
    return json.dumps({"version": VERSION, "boards": found}, indent=1, allow_nan=False) + "\n"


def _board(board: Board, rows: Sequence[EntryRow], repository: str) -> dict[str, Any]:
    ceilings = {name: board.ceiling_of(name) for name in board.divisions}
    return {
        "name": board.name,
        "title": board.title,
        "protocol": board.protocol,
        "sha256": board.sha256,
        "primary": board.primary,
        "floor": board.floor.mean,
        "lower_anchor": board.naive.mean,
        "ceilings": {k: {"strategy": a.strategy, "mean": a.mean} for k, a in ceilings.items()},
        "repository": repository,
        "entries": [_entry(board, row) for row in rows],
    }


def _entry(board: Board, row: EntryRow) -> dict[str, Any]:
    return {
        **row_of(board, row),
        "strategy": row.strategy[:100],
        "is_evidence": row.is_evidence,
        "n_verified": row.n_verified,
        "seeds": {str(s.seed): round(s.score, 12) for s in row.seeds},
        "contested": list(row.contested),
    }
