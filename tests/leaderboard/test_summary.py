"""Rows of entries: what is believed, what is ranked, and what a record cannot claim."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import synthetic
from synthetic import record, write_board, write_entry

from clbench.configure.board import Board, load_board
from clbench.leaderboard.entry import Meta
from clbench.leaderboard.pages.summary import CURVE_POINTS, EntryRow, summarise
from clbench.leaderboard.ranking import rank_ranges
from clbench.leaderboard.rules.findings import Finding
from clbench.results.record import Record
from clbench.results.tables import t_interval

SEEDS = synthetic.SEEDS


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return write_board(synthetic.board(tmp_path / "scole-digits"))


def runs(accuracy: float = 0.9, **changes: object) -> list[Record]:
    return [record(seed, accuracy, **changes) for seed in SEEDS]


def only(board: Board, *findings: Finding, validated: bool = True) -> EntryRow:
    (row,) = summarise(board, (lambda b, e: list(findings)) if validated else None)
    return row


def test_synthetic_boards_are_boards(board: Board) -> None:
    assert load_board(board.folder) == board


def test_primary_is_over_seeds(board: Board) -> None:
    records = runs()
    write_entry(board, "ewc", Meta("EWC", "ewc"), records)
    row = only(board)
    values = [r.metrics[board.primary]["value"] for r in records]
    assert row.primary == t_interval(values)
    assert [s.score for s in row.seeds] == values
    assert row.values["train_flops"].mean == 46_358_957_480
    assert row.test_images == 360
    assert row.tier == "validated"


def test_failed_and_missing_seeds_score_zero(board: Board) -> None:
    records = runs()[:4]
    records[2] = dataclasses.replace(records[2], status="diverged")
    write_entry(board, "ewc", Meta("EWC", "ewc"), records)
    row = only(board)
    assert [s.score for s in row.seeds][2:] == [0, records[3].metrics[board.primary]["value"], 0]
    assert row.failed == ("seed 2: diverged", "seed 4: missing")
    assert row.primary.n == 5
    assert row.values["world_accuracy"].n == 3


def test_a_claimed_primary_is_not_believed(board: Board) -> None:
    honest = runs()
    claimed = [
        dataclasses.replace(r, metrics={**r.metrics, board.primary: {"value": 1.0, "n_terms": 40}})
        for r in honest
    ]
    write_entry(board, "ewc", Meta("EWC", "ewc"), claimed)
    assert only(board).primary.mean == pytest.approx(
        np.mean([r.metrics[board.primary]["value"] for r in honest])
    )


def test_errors_are_not_ranked(board: Board) -> None:
    write_entry(board, "good", Meta("Good", "ewc"), runs(0.9))
    write_entry(board, "bad", Meta("Bad", "ewc"), runs(0.99))
    fault = Finding("C1", "error", "entries/bad/runs/seed0.json", "is of another stream")
    rows = summarise(board, lambda b, e: [fault] if e.slug == "bad" else [])
    assert [(row.slug, row.ranked, row.rank_range) for row in rows] == [
        ("good", True, (1, 1)),
        ("bad", False, None),
    ]
    assert rows[1].errors == ("C1 runs/seed0.json: is of another stream",)
    assert rows[1].tier == "self-reported"


@pytest.mark.parametrize("broken", ["entry.yaml", "runs/seed0.json"])
def test_unreadable_files_are_not_ranked_and_tell_no_path(board: Board, broken: str) -> None:
    folder = write_entry(board, "ewc", Meta("EWC", "ewc"), runs())
    (folder / broken).write_text("{")
    row = only(board, validated=False)
    assert not row.ranked
    assert row.errors[0].startswith(broken)
    assert str(board.folder.parent) not in " ".join(row.errors)


def test_an_unknown_division_is_not_ranked(board: Board) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc", division="weird"), runs())
    assert "weird" in only(board).errors[0]


def test_without_runs_of_the_board_is_not_ranked(board: Board) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc"), [record(77)])
    assert not only(board).ranked


@pytest.mark.parametrize("tier", ["reproduced", "held-out"])
def test_tier_of_a_verification_that_holds(board: Board, tier: str) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified=tier)
    assert only(board).tier == tier
    assert only(board).verification["equal"] == "bits"


def test_tier_is_lost_when_the_entry_changes(board: Board) -> None:
    folder = write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced")
    changed = dataclasses.replace(record(0), predictions_sha256="f" * 64)
    changed.save(folder / "runs" / "seed0.json")
    assert only(board).tier == "validated"


def test_tier_is_lost_when_the_source_changes(board: Board) -> None:
    folder = write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced")
    changed = dataclasses.replace(record(3), sources={**record(3).sources, "strategy": "f" * 64})
    changed.save(folder / "runs" / "seed3.json")
    assert only(board).tier == "validated"


def test_no_tier_without_validation_or_comparison(board: Board) -> None:
    folder = write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced")
    assert only(board, validated=False).tier == "self-reported"
    verified = json.loads((folder / "verified.json").read_text())
    (folder / "verified.json").write_text(json.dumps({**verified, "records_sha256": {}}))
    assert only(board).tier == "validated"


def test_flags(board: Board) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs())
    source, verified = "entries/ewc/strategy.py", "entries/ewc/verified.json"
    assert only(board).flags == ()
    assert only(board, Finding("C3", "warning", source, "differs")).flags == ("stale",)
    assert only(board, Finding("C3", "warning", verified, "is of other runs")).flags == ()
    assert only(board, Finding("P1", "review", source, "too good")).flags == ("needs review",)


@pytest.mark.parametrize(
    "cost",
    [
        {"flops_uncounted": ["aten::foo"]},
        {"flops_ranked": False},
        {"state_bytes_method": "declared"},
    ],
)
def test_costs_not_counted_in_full_do_not_rank(board: Board, cost: dict[str, object]) -> None:
    write_entry(board, "best", Meta("Best", "ewc"), runs(0.99, cost=cost))
    write_entry(board, "other", Meta("Other", "ewc"), runs(0.8))
    best, other = summarise(board)
    assert (best.slug, best.comparable_cost, best.on_front) == ("best", False, False)
    assert other.on_front


def test_divisions_are_ranked_apart(board: Board) -> None:
    scores = {"a": 0.85, "b": 0.9, "c": 0.95, "d": 0.8}
    for slug, accuracy in scores.items():
        division = "open" if slug in "cd" else "closed"
        write_entry(board, slug, Meta(slug, "ewc", division=division), runs(accuracy))
    rows = summarise(board)
    assert [row.slug for row in rows] == ["b", "a", "c", "d"]
    for members in (rows[:2], rows[2:]):
        vectors = np.array([[s.score for s in row.seeds] for row in members])
        assert [row.rank_range for row in members] == rank_ranges(vectors)
        assert members[0].on_front


def test_curve_keeps_the_mean_and_few_points(board: Board) -> None:
    records = runs(n_tasks=500)
    write_entry(board, "ewc", Meta("EWC", "ewc"), records)
    curve = only(board).curve
    x, y = zip(*curve, strict=True)
    assert len(curve) <= CURVE_POINTS
    assert x[0] == 0
    assert list(x) == sorted(set(x))
    first = np.mean([r.to_counts().world_accuracy[0] for r in records])
    assert y[0] == pytest.approx(first, abs=1e-4)
    everything = np.mean([r.to_counts().world_accuracy for r in records], axis=0)
    assert min(everything) - 1e-4 <= min(y) <= max(y) <= max(everything) + 1e-4


def test_a_short_stream_keeps_every_evaluation(board: Board) -> None:
    records = runs(n_tasks=10)
    write_entry(board, "ewc", Meta("EWC", "ewc"), records)
    mean = np.mean([r.to_counts().world_accuracy for r in records], axis=0)
    assert [y for _, y in only(board).curve] == pytest.approx(mean, abs=1e-4)


def test_an_empty_board(board: Board) -> None:
    assert summarise(board) == []
