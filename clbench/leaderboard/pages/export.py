"""``boards.json``: all boards with their rows, for machines; its JSON Schema is published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from clbench.configure.board import Board
from clbench.leaderboard.pages.difference import row_of
from clbench.leaderboard.pages.summary import EntryRow

VERSION = 1
Boards = Sequence[tuple[Board, Sequence[EntryRow]]]


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
