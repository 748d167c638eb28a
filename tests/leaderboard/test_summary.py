"""Rows of entries: what is believed, what is ranked, and what a record cannot claim."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import synthetic
from synthetic import record, write_board, write_entry

from clbench.configure.board import Board, load_board
from clbench.leaderboard.entry import Meta, load_entry
from clbench.leaderboard.pages.summary import CURVE_POINTS, EntryRow, summarise
from clbench.leaderboard.ranking import rank_ranges
from clbench.leaderboard.rules.findings import Finding
from clbench.leaderboard.verification import write_verification
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
    write_entry(board, "good", Meta("Good", "ewc"), runs(0.9), verified="reproduced")
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


@pytest.mark.parametrize("tier", ["reproduced", "re-run"])
def test_tier_of_a_verification_that_holds(board: Board, tier: str) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified=tier)
    row = only(board)
    assert (row.tier, row.tier_text) == (tier, f"{tier} 5/5")
    assert row.is_evidence
    assert row.rank_range == (1, 1)
    assert row.verification["answers"].startswith("equal" if tier == "reproduced" else "other")


def test_a_part_of_the_seeds_is_said_and_ranks_nothing(board: Board) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced", seeds=[0, 3])
    row = only(board)
    assert row.tier_text == "reproduced 2/5"
    assert not row.is_evidence
    assert row.rank_range is None
    assert row.ranked  # it is shown, as claimed


def test_what_is_claimed_is_shown_apart_from_what_was_found(board: Board) -> None:
    folder = write_entry(board, "ewc", Meta("EWC", "ewc"), runs(0.99))
    entry = load_entry(folder)
    found = synthetic.ledger_of(board, entry, equal=False)
    truth = {r.seed: r for r in runs(0.8)}
    lower = {
        seed: dataclasses.replace(
            run,
            record=truth[int(seed)].to_dict(),
            cost={**run.cost, "train_flops": 7},
            environment={**run.environment, "torch": "2.14"},
        )
        for seed, run in found.seeds.items()
    }
    write_verification(entry, dataclasses.replace(found, seeds=lower))
    row = only(board)
    assert row.tier == "re-run"
    assert row.primary == t_interval([r.metrics[board.primary]["value"] for r in runs(0.8)])
    assert row.claimed == t_interval([r.metrics[board.primary]["value"] for r in runs(0.99)])
    assert row.values["train_flops"].mean == 7
    assert row.environment["torch"] == "2.14"


def test_what_cannot_be_rebuilt_or_is_unstable_is_flagged(board: Board) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced", rebuilt=False)
    assert only(board).flags == ("cannot be rebuilt",)
    assert only(board).rank_range is None
    moved = {"seeds": [0], "rate_rms": 0.02, "threads_rms": None, "sd": 0.003, "unstable": True}
    shutil.rmtree(board.entries)
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced", stability=moved)
    assert only(board).flags == ("unstable",)
    assert only(board).rank_range == (1, 1)


def test_claims_come_after_what_was_verified(board: Board) -> None:
    write_entry(board, "claims", Meta("Claims", "ewc"), runs(0.99))
    write_entry(board, "shows", Meta("Shows", "ewc"), runs(0.8), verified="reproduced")
    rows = summarise(board, lambda b, e: [])
    assert [(row.slug, row.rank_range) for row in rows] == [("shows", (1, 1)), ("claims", None)]


def test_tier_of_a_seed_is_lost_when_its_record_changes(board: Board) -> None:
    folder = write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced")
    changed = dataclasses.replace(record(0), predictions_sha256="f" * 64)
    changed.save(folder / "runs" / "seed0.json")
    assert only(board).tier_text == "reproduced 4/5"
    assert only(board).rank_range is None


def test_tier_is_lost_when_the_source_changes(board: Board) -> None:
    folder = write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced")
    (folder / "strategy.py").write_text("another = 1")
    assert only(board).tier == "validated"


def test_no_tier_without_validation(board: Board) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced")
    assert only(board, validated=False).tier == "self-reported"


def test_flags(board: Board) -> None:
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs())
    source, verified = "entries/ewc/strategy.py", "verified/ewc.json"
    assert only(board).flags == ()
    assert only(board, Finding("C3", "warning", source, "differs")).flags == ("stale",)
    assert only(board, Finding("C3", "warning", verified, "is of other runs")).flags == ()
    assert only(board, Finding("P1", "review", source, "too good")).flags == ("needs review",)


def test_operations_that_the_verifier_does_not_believe_do_not_rank(board: Board) -> None:
    flops = {"ranked": False, "ratio": 40.0, "limit": 5.0, "why": "no FLOPs rank: 40 x"}
    write_entry(board, "ewc", Meta("EWC", "ewc"), runs(), verified="reproduced", flops=flops)
    assert not only(board).comparable_cost
    assert only(board).verification["costs"] == "no FLOPs rank: 40 x"


@pytest.mark.parametrize(
    "cost",
    [
        {"flops_uncounted": ["aten::foo"]},
        {"state_bytes_method": "declared"},
    ],
)
def test_costs_not_counted_in_full_do_not_rank(board: Board, cost: dict[str, object]) -> None:
    dear = runs(0.99, cost=cost)
    write_entry(board, "best", Meta("Best", "ewc"), dear, verified="reproduced")
    write_entry(board, "other", Meta("Other", "ewc"), runs(0.8), verified="reproduced")
    best, other = summarise(board, lambda b, e: [])
    assert (best.slug, best.comparable_cost, best.on_front) == ("best", False, False)
    assert other.on_front


def test_an_estimate_that_does_not_hold_is_no_matter_where_every_call_was_counted(
    board: Board,
) -> None:
    rough = runs(0.8, cost={"flops_ranked": False})
    write_entry(board, "claimed", Meta("One", "ewc"), rough)
    write_entry(board, "counted", Meta("Two", "ewc"), rough, verified="reproduced")
    found = {row.slug: row.comparable_cost for row in summarise(board, lambda b, e: [])}
    assert found == {"claimed": False, "counted": True}


def test_divisions_are_ranked_apart(board: Board) -> None:
    scores = {"a": 0.85, "b": 0.9, "c": 0.95, "d": 0.8}
    for slug, accuracy in scores.items():
        division = "open" if slug in "cd" else "network"
        meta = Meta(slug, "ewc", division=division)
        write_entry(board, slug, meta, runs(accuracy), verified="reproduced")
    rows = summarise(board, lambda b, e: [])
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
