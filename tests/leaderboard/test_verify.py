"""Verifying: what is found, what is refused, what is written, and for how long it counts."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from synthetic import ledger_of
from tiny import agree, declare, edit, edit_yaml, run_on

from clbench.cli import main
from clbench.cli.verify import _seeds
from clbench.configure.board import Board, Budget, load_board, pin_file
from clbench.errors import UsageError
from clbench.leaderboard.entry import ledger_file, load_entry
from clbench.leaderboard.reproduce.held_out import HeldOut
from clbench.leaderboard.reproduce.rerun import Rerun, compare, compare_rows, point_of
from clbench.leaderboard.reproduce.spent import Account
from clbench.leaderboard.reproduce.verify import FLOPS_LIMIT, Verifier
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.submit import submit
from clbench.leaderboard.verification import (
    is_current,
    is_ranked,
    tier,
    verified_records,
    write_verification,
)

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
LIBRARY = '''
"""Cannot be rebuilt: its state is not all."""
from clbench.strategy import GradientStrategy

class Library(GradientStrategy):
    resumable = False
'''


def test_what_is_found_is_written_and_ranks_once_all_seeds_are(
    scaled: Board, naive: Path, verifier: Verifier
) -> None:
    report = verifier.verify(load_entry(naive), [1])
    assert report.refusals == []
    assert "seed 1: bit for bit the same answers" in report.lines
    assert report.found is not None
    assert report.found.flops["ranked"]  # it is the anchor
    assert 0.2 < report.found.flops["ratio"] < FLOPS_LIMIT
    assert report.found.stability is None
    assert report.found.rebuilt
    write_verification(load_entry(naive), report.found)
    entry = load_entry(naive)
    assert entry.problems == ()
    assert tier(scaled, entry) == ("reproduced", 1)
    assert not is_ranked(scaled, entry)
    rest = dataclasses.replace(
        report.found, seeds=ledger_of(scaled, entry, seeds=[0, 2, 3, 4]).seeds
    )
    write_verification(entry, rest)
    entry = load_entry(naive)
    assert tier(scaled, entry) == ("reproduced", 5)
    assert is_ranked(scaled, entry)
    assert is_current(scaled, entry)
    # The costs that rank count every call; those of the record are an estimate of the same.
    cost, claim = verified_records(scaled, entry)[1].cost, entry.records[1].cost
    assert cost["train_flops"] == pytest.approx(claim["train_flops"], rel=0.2)
    assert cost["flops_method"] == "every call counted"


@pytest.fixture
def as_claimed(naive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process runs: whatever is run again gives what the honest entry holds."""
    entry = load_entry(naive)

    def again(self: Verifier, point: dict[str, Any], **_: Any) -> Rerun:
        record = entry.records[point["seed"]]
        return Rerun(record, record.cost, Account(), True)

    fresh = HeldOut(True, 1, 0.5, 0.5, (0.5,), {"entry": 0.5, "naive": 0.3}, "c" * 64, "")
    monkeypatch.setattr(Verifier, "_rerun", again)
    monkeypatch.setattr(Verifier, "_zygote", lambda *_: None)
    monkeypatch.setattr("clbench.leaderboard.reproduce.verify.held_out", lambda *_: fresh)


@pytest.mark.usefixtures("as_claimed")
@pytest.mark.parametrize("beyond", [0, 1])
def test_the_budget_is_of_all_calls(
    naive: Path, board: Board, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    entry = load_entry(naive)
    limit = max(record.cost["train_flops"] for record in entry.records.values())
    cost = {**entry.records[1].cost, "train_flops": limit + beyond}
    again = Rerun(entry.records[1], cost, Account(), True)
    monkeypatch.setattr(Verifier, "_rerun", lambda *_, **__: again)
    tight = dataclasses.replace(board, budget=Budget(train_flops=limit))
    with Verifier(tight, perturbed=0) as verifier:
        report = verifier.verify(entry, [1])
    assert len(report.refusals) == beyond
    assert all(f"learns by {limit + 1} operations" in text for text in report.refusals)
    assert report.disproved is bool(beyond)


@pytest.mark.usefixtures("as_claimed")
def test_the_command_writes_beside_the_entries(
    naive: Path, board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(naive.rglob("*"))
    assert main(["verify", str(naive), "--seeds", "1", "--perturbed", "0"]) == 0
    out = capsys.readouterr().out
    assert "ok   naive seed 1: bit for bit" in out
    assert "ok   naive held-out: place" in out
    assert sorted(naive.rglob("*")) == before
    assert ledger_file(naive) == board.folder / "verified" / "naive.json"
    assert [*load_entry(naive).verification.seeds] == ["1"]  # type: ignore[union-attr]
    # Another answer now: it is refused, and what was found before does not stand.
    edit(naive / "runs" / "seed1.json", lambda d: d.update(predictions_sha256="0" * 64))
    assert main(["verify", str(naive), "--seeds", "1", "--perturbed", "0"]) == 1
    assert "FAIL naive seed 1: different predictions" in capsys.readouterr().out
    assert not ledger_file(naive).exists()


@pytest.mark.usefixtures("as_claimed")
def test_the_command_goes_on_with_the_entries_that_are_missing(
    naive: Path, board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = shutil.copytree(naive, naive.parent / "twin")
    edit_yaml(twin / "entry.yaml", name="twin")
    assert main(["verify", str(naive), "--perturbed", "0"]) == 0
    assert main(["verify", str(twin), "--seeds", "1", "--perturbed", "0"]) == 0
    capsys.readouterr()
    assert main(["verify", str(board.folder), "--missing", "--perturbed", "0"]) == 0
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines()} == {"twin"}
    assert main(["verify", str(board.folder), "--missing"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_command_verifies_a_board_side_by_side(
    naive: Path, board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = shutil.copytree(naive, naive.parent / "twin")
    edit_yaml(twin / "entry.yaml", name="twin")
    words = ["--seeds", "0..1", "--jobs", "2", "--perturbed", "2"]
    assert main(["verify", str(board.folder), *words]) == 0
    assert {path.name for path in (board.folder / "verified").iterdir()} == {
        *("board.json", "naive.json", "twin.json")
    }
    found = load_entry(naive).verification
    assert found is not None
    assert found.stability is not None
    assert not found.stability["unstable"]


def test_all_seeds_are_verified_unless_said() -> None:
    assert _seeds(None, (10, 11, 12)) == [10, 11, 12]
    assert _seeds("10..11", (10, 11, 12)) == [10, 11]
    with pytest.raises(UsageError, match="write 0,3"):
        _seeds("first", (10, 11))


def test_the_rules_come_first_and_it_stops_at_the_first_refusal(
    scaled: Board, naive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_yaml(naive / "entry.yaml", declaration={}, url="nowhere")
    monkeypatch.setattr("clbench.leaderboard.reproduce.verify.rerun", None)
    with Verifier(scaled) as verifier:
        report = verifier.verify(load_entry(naive), [0])
        assert len(report.refusals) == 1
        assert report.refusals[0].startswith("S3 ")
        assert report.found is None
    with Verifier(scaled, every=True) as verifier:
        monkeypatch.setattr(verifier, "_runs", lambda *_: iter(["a run"]))
        assert [r[:2] for r in verifier.verify(load_entry(naive), [0]).refusals] == [
            *["S3"] * 3, "a ",
        ]  # fmt: skip


def test_a_board_is_pinned_by_its_ledger(board: Board, naive: Path) -> None:
    pin_file(board.folder).unlink()
    with pytest.raises(UsageError, match="clbench board pin tiny"):
        Verifier(board)
    assert main(["verify", str(naive)]) == 2
    assert main(["board", "pin", "tiny", "--boards", str(board.folder.parent)]) == 0
    Verifier(board)
    pin_file(board.folder).write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(UsageError, match="is not the protocol that"):
        load_board(board.folder)
    for text in ("[]", "{}", '{"sha256": 5}', "{", '{"sha256": "' + "0" * 64 + '", "more": 1}'):
        pin_file(board.folder).write_text(text)
        with pytest.raises(UsageError, match=r"board\.json"):
            load_board(board.folder)


@pytest.mark.parametrize(
    "wrong", ["--jobs 0", "--perturbed -1", "--perturbed-of nnaive", "--prefix 1", "--seeds x"]
)
def test_options_that_cannot_be(
    naive: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(naive), *wrong.split()]) == 2
    assert wrong.split()[0] in capsys.readouterr().err


def test_an_entry_may_have_diagnostics_of_its_own(
    board: Board, naive: Path, tmp_path: Path
) -> None:
    """A board fixes no diagnostics: with them an entry is as valid and as reproducible."""
    words = ("strategy=naive", "diagnostics=[rank,dead_units,weight_norm]")
    _, entry = submit(run_on(board, tmp_path / "runs", *words), "measured", board.folder.parent)
    declare(entry.folder)
    entry = load_entry(entry.folder)
    assert [f for f in validate(board, entry) if f.level == "error"] == []
    assert "diagnostics" not in point_of(board, entry, entry.records[0])
    without = load_entry(naive).records[0]  # what a verification of it would run
    assert compare(board, entry.records[0], without).equal
    edit(entry.folder / "runs" / "seed0.json", lambda data: data["config"].update(diagnostics=[]))
    found = validate(board, load_entry(entry.folder))
    assert "C2" in {f.rule for f in found if f.level == "error"}


@pytest.mark.slow
def test_a_prefix_compares_rows_and_writes_nothing(
    naive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = shutil.copytree(naive, naive.parent / "twin")
    edit_yaml(twin / "entry.yaml", name="twin")
    _move_an_answer(naive.parent / "twin" / "runs" / "seed0.json", row=1)
    board = naive.parent.parent
    before = sorted(board.rglob("*"))
    assert main(["verify", str(board), "--prefix", "4"]) == 1
    out = capsys.readouterr().out
    assert "ok   naive seed 0: the first" in out
    assert "FAIL twin seed 0: different predictions" in out
    assert sorted(board.rglob("*")) == before


def _move_an_answer(path: Path, row: int) -> None:
    """One answer fewer or more is counted as right."""

    def change(data: dict[str, Any]) -> None:
        counts = data["counts"]["correct"][row]
        counts[0] += 1 if counts[0] == 0 else -1
        agree(data)

    edit(path, change)


def test_changed_counts_are_refused_although_the_hash_is_kept(board: Board, naive: Path) -> None:
    honest = load_entry(naive).records[0]
    _move_an_answer(naive / "runs" / "seed0.json", row=-1)
    changed = load_entry(naive).records[0]
    assert compare(board, honest, honest).equal
    assert "other counts: counts" in compare(board, changed, honest).refusal


@pytest.mark.parametrize("cost", ["train_flops", "predict_flops", "state_bytes", "updates"])
def test_other_costs_are_refused_on_the_same_platform(board: Board, naive: Path, cost: str) -> None:
    honest = load_entry(naive).records[0]
    claim = dataclasses.replace(honest, cost={**honest.cost, cost: 1})
    assert f"cost.{cost} is claimed to be 1" in compare(board, claim, honest).refusal
    far = dataclasses.replace(claim, environment={**honest.environment, "torch": "9.9"})
    assert compare(board, far, honest).equal  # its operators may be others; the verifier's rank


@pytest.mark.parametrize(
    ("claimed", "is_refused"), [(999, True), (1000, False), (1010, False), (1011, True)]
)
def test_claimed_bytes_may_have_what_a_rebuilt_learner_does_not_hold(
    board: Board, naive: Path, claimed: int, is_refused: bool
) -> None:
    honest = load_entry(naive).records[0]
    claim, found = (
        dataclasses.replace(honest, cost={**honest.cost, "state_bytes": n}) for n in (claimed, 1000)
    )
    assert compare(board, claim, found).equal is not is_refused


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [("strategy", "lr", 0.5), ("strategy", "more", 1), ("scenario", "n_tasks", 3),
     ("model", "hidden", [16]), (None, "precision", "bf16"), (None, "later", True)],
)  # fmt: skip
def test_other_settings_than_ran_again_are_refused(
    board: Board, naive: Path, group: str | None, name: str, value: Any
) -> None:
    honest = load_entry(naive).records[0]
    config = json.loads(json.dumps(honest.config))
    (config[group] if group else config)[name] = value
    said = compare(board, dataclasses.replace(honest, config=config), honest).refusal
    assert said.startswith(f"{group}.{name}" if group else name)
    assert "in the record" in said
    assert compare(board, honest, dataclasses.replace(honest, config=config)).equal is (
        name in ("more", "later")  # a setting that came after the record
    )


def test_no_tolerance_makes_other_answers_equal(board: Board, naive: Path) -> None:
    record = load_entry(naive).records[0]
    other = dataclasses.replace(record, predictions_sha256="0" * 64)
    assert "on the same platform" in compare(board, other, record).refusal
    far = dataclasses.replace(other, environment={**record.environment, "machine": "elsewhere"})
    found = compare(board, far, record)
    assert (found.refusal, found.equal) == ("", False)
    assert "claimed" in found.message
    assert compare_rows(far, record).equal  # the rows are there
    counts = {**record.counts, "correct": [[0] * len(r) for r in record.counts["correct"]]}
    assert not compare_rows(dataclasses.replace(far, counts=counts), record).equal
    assert compare_rows(dataclasses.replace(other, counts=counts), record).refusal


def test_other_data_are_named_as_the_reason(
    scaled: Board, naive: Path, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a font is drawn by another version of a library; earlier findings then stand."""
    record = dataclasses.replace(load_entry(naive).records[0], pool_sha256="0" * 64)
    monkeypatch.setattr(
        verifier, "_rerun", lambda *_, **__: Rerun(record, record.cost, Account(), True)
    )
    report = verifier.verify(load_entry(naive), [0])
    assert report.refusals[0].startswith("seed 0: the data differ here")
    assert not report.disproved


@pytest.mark.slow
def test_an_entry_is_not_imported_and_a_second_verification_has_to_agree(
    scaled: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verifier: Verifier
) -> None:
    witness = tmp_path / "witness"
    source = tmp_path / "spying.py"
    source.write_text(SPYING.format(witness=str(witness)))
    arm = run_on(scaled, tmp_path / "runs", f"strategy={source}")
    _, entry = submit(arm, "spying", scaled.folder.parent)
    declare(entry.folder)
    entry = load_entry(entry.folder)
    monkeypatch.setenv("VERIFIER", str(os.getpid()))
    before = set(sys.modules)
    found = verifier.verify(entry, [0]).found
    assert found is not None
    assert not witness.exists()
    own = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    assert str(entry.source) not in own
    run_on(scaled, tmp_path / "again", f"strategy={entry.source}", "seed=0", "max_tasks=1")
    assert witness.exists()  # the witness works
    run = dataclasses.replace(found.seeds["0"], predictions_sha256="0" * 64)
    write_verification(entry, dataclasses.replace(found, seeds={"0": run}))
    report = verifier.verify(load_entry(entry.folder), [0])
    assert "other answers than when it was verified" in report.refusals[0]


@pytest.mark.slow
def test_what_cannot_be_rebuilt_is_run_and_not_ranked(
    scaled: Board, tmp_path: Path, verifier: Verifier
) -> None:
    source = tmp_path / "library.py"
    source.write_text(LIBRARY)
    arm = run_on(scaled, tmp_path / "runs", f"strategy={source}")
    _, entry = submit(arm, "library", scaled.folder.parent)
    declare(entry.folder)
    entry = load_entry(entry.folder)
    report = verifier.verify(entry, [0])
    assert report.found is not None, report.refusals
    assert not report.found.rebuilt
    every = dict.fromkeys(map(str, scaled.seeds), report.found.seeds["0"])
    hashes = ledger_of(scaled, entry).seeds
    seeds = {
        k: dataclasses.replace(v, claim_sha256=hashes[k].claim_sha256) for k, v in every.items()
    }
    write_verification(entry, dataclasses.replace(report.found, seeds=seeds))
    entry = load_entry(entry.folder)
    assert tier(scaled, entry) == ("reproduced", 5)
    assert not is_ranked(scaled, entry)


def test_a_seed_without_a_record_is_refused(board: Board, naive: Path, verifier: Verifier) -> None:
    (naive / "runs" / "seed0.json").unlink()
    assert "is missing" in verifier.verify(load_entry(naive), [0]).refusals[0]
    with pytest.raises(UsageError, match="has no seed 77"):
        verifier.verify(dataclasses.replace(load_entry(naive)), [77])
