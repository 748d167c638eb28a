"""Verifying: what is reproduced, what is not, and for how long it counts."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import declare, edit, run_on

from clbench.cli import main
from clbench.cli.verify import _seeds
from clbench.configure.board import Board
from clbench.errors import UsageError
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce import verify
from clbench.leaderboard.reproduce.verify import compare, compare_rows, reproduce
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.submit import submit
from clbench.leaderboard.verification import is_current, write_verification

HIDING = '''
"""Remembers beside its state: how many experiences there were."""
from clbench.strategy import GradientStrategy

SEEN = []

class Hiding(GradientStrategy):
    def begin(self, task):
        {remember}
        return task

    def forward(self, x, task_id=None):
        scores = self.model(x).roll({count}, 1)  # other answers for every count up to 20
        return -scores if {count} // 10 % 2 else scores
'''
HIDDEN = {
    "a module's global": ("SEEN.append(1)", "len(SEEN)"),
    "an attribute": ("self.seen = getattr(self, 'seen', 0) + 1", "getattr(self, 'seen', 0)"),
}

SPYING = '''
"""Says so where it is imported."""
import os
from pathlib import Path
from clbench.strategy import GradientStrategy

if Path({witness!r}).parent.is_dir() and os.getpid() == int(os.environ.get("VERIFIER", "0")):
    Path({witness!r}).write_text("imported by the parent")

class Spying(GradientStrategy):
    pass
'''


@pytest.fixture(autouse=True)
def one_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is a process, whose start takes longer than its tasks."""
    monkeypatch.setattr(verify, "CUTS", 1)


def test_a_reproduction_lifts_the_tier(naive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(naive), "--seeds", "1"]) == 0
    assert "ok   naive seed 1: bit for bit" in capsys.readouterr().out
    entry = load_entry(naive)
    assert entry.verification is not None
    assert entry.verification.tier == "reproduced"
    assert entry.verification.detail["bits"] is True
    assert [*entry.verification.records_sha256] == ["1"]
    assert is_current(entry)


def test_seeds_are_the_boards_first_unless_said() -> None:
    assert _seeds(None, (10, 11, 12)) == [10]
    assert _seeds("all", (10, 11, 12)) == [10, 11, 12]
    assert _seeds("10..11", (10, 11, 12)) == [10, 11]


def test_entries_of_a_board_are_verified_side_by_side(
    naive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(naive, naive.parent / "twin")
    _move_an_answer(naive.parent / "twin" / "runs" / "seed0.json", row=1)
    board = naive.parent.parent
    assert main(["verify", str(board), "--prefix", "4", "--jobs", "2"]) == 1
    out = capsys.readouterr().out
    assert "ok   naive seed 0" in out
    assert "FAIL twin seed 0" in out


@pytest.mark.parametrize("wrong", [("--jobs", "0"), ("--jobs", "2", "--isolate")])
def test_jobs_that_cannot_be(
    naive: Path, wrong: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(naive), *wrong]) == 2
    assert "--jobs" in capsys.readouterr().err


def test_an_entry_may_have_diagnostics_of_its_own(
    board: Board, naive: Path, tmp_path: Path
) -> None:
    """A board fixes no diagnostics: with them an entry is as valid and as reproducible."""
    words = ("strategy=naive", "diagnostics=[rank,dead_units,weight_norm]")
    _, entry = submit(run_on(board, tmp_path / "runs", *words), "measured", board.folder.parent)
    declare(entry.folder)
    entry = load_entry(entry.folder)
    assert [f for f in validate(board, entry) if f.level == "error"] == []
    assert "diagnostics" not in verify.point_of(board, entry, entry.records[0])
    without = load_entry(naive).records[0]  # what a verification of it would run
    assert compare(board, entry, entry.records[0], without).bits
    edit(entry.folder / "runs" / "seed0.json", lambda data: data["config"].update(diagnostics=[]))
    found = validate(board, load_entry(entry.folder))
    assert "C2" in {f.rule for f in found if f.level == "error"}


def test_a_prefix_compares_rows_and_writes_nothing(
    naive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(naive.rglob("*"))
    assert main(["verify", str(naive), "--prefix", "4"]) == 0
    assert "rows are the same" in capsys.readouterr().out
    assert sorted(naive.rglob("*")) == before
    honest = load_entry(naive).records[0]
    _move_an_answer(naive / "runs" / "seed0.json", row=1)
    result = compare_rows(load_entry(naive).records[0], honest)
    assert not result.passed
    assert "different predictions" in result.message


def _move_an_answer(path: Path, row: int) -> None:
    """One answer fewer or more is counted as right."""

    def change(data: dict[str, Any]) -> None:
        counts = data["counts"]["correct"][row]
        counts[0] += 1 if counts[0] == 0 else -1

    edit(path, change)


def test_changed_counts_fail_although_the_hash_is_kept(board: Board, naive: Path) -> None:
    honest = load_entry(naive)
    _move_an_answer(naive / "runs" / "seed0.json", row=-1)
    changed = load_entry(naive)
    assert compare(board, honest, honest.records[0], honest.records[0]).bits
    result = compare(board, changed, changed.records[0], honest.records[0])
    assert not result.passed
    assert "counts" in result.message


def test_other_answers_fail_here_and_have_a_tolerance_elsewhere(board: Board, naive: Path) -> None:
    entry = load_entry(naive)
    record = entry.records[0]
    other = dataclasses.replace(record, predictions_sha256="0" * 64)
    there = {**record.environment, "machine": "elsewhere"}
    assert not compare(board, entry, other, record).passed
    far = dataclasses.replace(other, environment=there)
    result = compare(board, entry, far, record)
    assert result.passed
    assert not result.bits
    counts = {**record.counts, "correct": [[0] * len(r) for r in record.counts["correct"]]}
    metrics = {name: {**found, "value": 0.0} for name, found in record.metrics.items()}
    forged = dataclasses.replace(far, counts=counts, metrics=metrics)
    assert not compare(board, entry, forged, record).passed
    assert not compare_rows(forged, record).passed
    assert compare_rows(far, record).passed


@pytest.mark.parametrize(
    "how", ["a module's global", pytest.param("an attribute", marks=pytest.mark.slow)]
)
def test_hidden_state_does_not_survive(board: Board, tmp_path: Path, how: str) -> None:
    remember, count = HIDDEN[how]
    source = tmp_path / "hiding.py"
    source.write_text(HIDING.format(remember=remember, count=count))
    arm = run_on(board, tmp_path / "runs", f"strategy={source}", "seed=0")
    _, entry = submit(arm, "hiding", board.folder.parent)
    [result] = reproduce(board, entry, [0])
    assert not result.passed
    assert "different predictions on the same platform" in result.message


def test_an_isolated_entry_gives_the_same_bits_and_is_not_imported(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "witness"
    source = tmp_path / "spying.py"
    source.write_text(SPYING.format(witness=str(witness)))
    arm = run_on(board, tmp_path / "runs", f"strategy={source}", "seed=0")
    _, entry = submit(arm, "spying", board.folder.parent)
    monkeypatch.setenv("VERIFIER", str(os.getpid()))
    before = set(sys.modules)
    [result] = reproduce(board, entry, [0], isolate=True)
    assert result.bits, result.message
    assert not witness.exists()
    own = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    assert str(entry.source) not in own
    run_on(board, tmp_path / "again", f"strategy={entry.source}", "seed=0", "max_tasks=1")
    assert witness.exists()  # the witness works


def test_a_seed_without_a_record_fails(board: Board, naive: Path) -> None:
    (naive / "runs" / "seed0.json").unlink()
    with pytest.raises(UsageError, match="no record of seed 0"):
        reproduce(board, load_entry(naive), [0])


def _verified(naive: Path) -> None:
    write_verification(load_entry(naive), "reproduced", [0], {})
    assert is_current(load_entry(naive))


def test_other_answers_end_a_verification(board: Board, naive: Path) -> None:
    _verified(naive)
    edit(naive / "runs" / "seed0.json", lambda d: d.update(predictions_sha256="0" * 64))
    assert not is_current(load_entry(naive))
    assert any(f.file.endswith("verified.json") for f in validate(board, load_entry(naive)))


@pytest.mark.parametrize("part", ["counts", "cost", "metrics"])
def test_anything_else_that_is_edited_ends_a_verification(naive: Path, part: str) -> None:
    _verified(naive)

    def change(data: dict[str, Any]) -> None:
        if part == "counts":
            data["counts"]["correct"][-1][0] -= 1
        elif part == "cost":
            data["cost"]["train_flops"] -= 1
        else:
            data["metrics"]["world_accuracy"]["value"] = 1.0

    edit(naive / "runs" / "seed0.json", change)
    assert not is_current(load_entry(naive))


def test_other_data_are_named_as_the_reason(
    board: Board, naive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a font is drawn by another version of a library."""
    monkeypatch.setattr(
        verify, "_rebuilt", lambda point, record: dataclasses.replace(record, pool_sha256="0" * 64)
    )
    for prefix in (None, 4):
        [result] = reproduce(board, load_entry(naive), [0], prefix=prefix)
        assert not result.passed
        assert result.message.startswith("the data differ here")


def test_a_removed_record_ends_a_verification(naive: Path) -> None:
    _verified(naive)
    (naive / "runs" / "seed0.json").unlink()
    assert not is_current(load_entry(naive))


@pytest.mark.parametrize("seed", [0, 3])
def test_another_source_ends_a_verification(naive: Path, seed: int) -> None:
    """Of any record: all of them are shown under the tier."""
    _verified(naive)
    path = naive / "runs" / f"seed{seed}.json"
    edit(path, lambda d: d["sources"].update(strategy="0" * 64))
    assert not is_current(load_entry(naive))


def test_a_higher_tier_is_not_lowered_while_it_holds(naive: Path) -> None:
    write_verification(load_entry(naive), "held-out", [0], {"commitment": "abc"})
    write_verification(load_entry(naive), "reproduced", [1], {"bits": True})
    data = json.loads((naive / "verified.json").read_text())
    assert data["tier"] == "held-out"
    assert data["detail"]["commitment"] == "abc"
    edit(naive / "runs" / "seed1.json", lambda d: d.update(predictions_sha256="0" * 64))
    write_verification(load_entry(naive), "reproduced", [0], {"bits": True})
    assert json.loads((naive / "verified.json").read_text())["tier"] == "reproduced"
