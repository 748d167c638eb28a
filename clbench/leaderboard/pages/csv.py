"""A board as CSV: one row per entry, wide, in base units (shares, operations, bytes, seconds)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from clbench.configure.board import Board
from clbench.leaderboard.pages.summary import EntryRow
from clbench.results.tables import Interval, columns_of
from clbench.util.text import as_cell, safe_link


def to_csv(board: Board, rows: Sequence[EntryRow]) -> str:
    """All entries and all numbers.

    Columns: who; ``n_verified`` seeds, on all of which an entry must be verified to be ranked (what
    others show is claimed); ``rank_low``, ``rank_high``; ``primary`` over all seeds (failed ones as
    0), ``primary_claimed`` and ``normalised`` (0 at the floor, 1 at the ceiling of its division);
    ``seed_<k>``; then for each metric and cost the mean, half width of the 95 % interval and n over
    completed seeds.
    Texts that a spreadsheet would run as formulas start with ``'``.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = [column.key for column in columns_of(row.values for row in rows if row.ranked)]
    writer.writerow(
        [
            "board",
            "protocol",
            "entry",
            "name",
            "authors",
            "division",
            "tier",
            "n_verified",
            "flags",
            "not_ranked",
            "url",
            "source_sha256",
            "tuning",
            "rank_low",
            "rank_high",
            "pareto",
            "primary",
            "primary_half_width",
            "primary_claimed",
            "n_seeds",
            "n_failed",
            "normalised",
            "comparable_cost",
            *(f"seed_{seed}" for seed in board.seeds),
            *(f"{key}{part}" for key in keys for part in ("", "_half_width", "_n")),
        ]
    )
    for row in rows:
        known = {s.seed: _number(s.score) for s in row.seeds} if row.ranked else {}
        low, high = row.rank_range or ("", "")
        primary = row.primary if row.ranked else Interval(None, None, 0)
        values = [
            row.values.get(key, Interval(None, None, 0)) if row.ranked else Interval(None, None, 0)
            for key in keys
        ]
        texts = [
            board.name,
            board.protocol,
            row.slug,
            row.name,
            "; ".join(row.authors),
            row.division,
            row.tier,
            str(row.n_verified),
            " ".join(row.flags),
            "; ".join(row.errors),
            safe_link(row.url) or "",
            row.source_sha256,
            row.tuning.get("ruleset", ""),
        ]
        writer.writerow(
            [
                *(as_cell(text) for text in texts),
                low,
                high,
                int(row.on_front),
                _number(primary.mean),
                _number(primary.half_width),
                _number(row.claimed.mean) if row.ranked else "",
                primary.n,
                len(row.failed),
                _normalised(board, row.division, primary.mean),
                int(row.comparable_cost),
                *(known.get(seed, "") for seed in board.seeds),
                *(_number(v) for interval in values for v in interval),
            ]
        )
    return out.getvalue()


def _number(value: float | None) -> str:
    """Ten significant digits: the last bits of a mean are no one's result."""
    return "" if value is None else f"{value:.10g}"


def _normalised(board: Board, division: str, mean: float | None) -> str:
    width = board.ceiling_of(division).mean - board.floor.mean
    return "" if mean is None or width == 0 else _number((mean - board.floor.mean) / width)
