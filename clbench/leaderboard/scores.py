"""Computes an entry's primary on each of the board's seeds, from the counts alone."""

from __future__ import annotations

from clbench.configure.board import Board
from clbench.leaderboard.entry import Entry
from clbench.results import metrics
from clbench.results.record import Record


def score(board: Board, entry: Entry) -> dict[int, float]:
    """The primary on each seed of the board; 0 where the run is missing or did not complete.

    It is recomputed from the counts; the metrics in the record are ignored.
    """
    return {seed: score_run(board, entry.records.get(seed)) for seed in board.seeds}


def score_run(board: Board, record: Record | None) -> float:
    """The primary of one run; 0 where it did not complete, or the primary is undefined."""
    if record is None or record.status != "completed":
        return 0.0
    value = metrics.value_of(metrics.table()[board.primary], record.to_counts()).value
    return 0.0 if value is None else value
