"""What validation tells of an entry that is not tampered with, and how it scores."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from synthetic import ledger_of
from test_rules import put, rules
from tiny import agree, edit, edit_yaml, run_on, with_own_source

from clbench.configure.board import Anchor, Board, Budget
from clbench.engine import version
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.rules import sources
from clbench.leaderboard.rules.validate import validate, validate_board
from clbench.leaderboard.scores import score
from clbench.leaderboard.verification import write_verification
from clbench.plugins.source import identity_sha256, source_sha256
from clbench.util.hashing import sha256_of


def test_a_failed_run_scores_zero_and_is_not_dropped(board: Board, naive: Path) -> None:
    def fail(data: dict[str, Any]) -> None:
        data["status"], data["stream_sha256"] = "diverged", "0" * 64

    edit(naive / "runs" / "seed2.json", fail)
    assert rules(board) == set()
    assert rules(board, "warning") == {"M2"}
    values = score(board, load_entry(naive))
    assert values[2] == 0
    assert all(values[seed] > 0 for seed in (0, 1, 3, 4))


def test_a_missing_run_scores_zero(board: Board, naive: Path) -> None:
    (naive / "runs" / "seed2.json").unlink()
    assert score(board, load_entry(naive))[2] == 0


def test_too_good_asks_for_a_reproduction_and_fails_nothing(board: Board, naive: Path) -> None:
    values = score(board, load_entry(naive))
    mean = sum(values.values()) / len(values)
    low = dataclasses.replace(board, ceiling=Anchor("joint", mean - 0.036, 0.01))
    found = validate(low, load_entry(naive))
    assert [(f.rule, f.level) for f in found] == [("P1", "review")]
    near = dataclasses.replace(board, ceiling=Anchor("joint", mean - 0.034, 0.01))
    assert validate(near, load_entry(naive)) == []
    cheap = dataclasses.replace(board, naive=Anchor("naive", mean - 0.1, 0.01, 10**15))
    assert [(f.rule, f.level) for f in validate(cheap, load_entry(naive))] == [("P1", "review")]
    write_verification(load_entry(naive), ledger_of(board, load_entry(naive)))
    assert validate(low, load_entry(naive)) == validate(cheap, load_entry(naive)) == []


def test_operations_that_no_formula_covers_are_told(board: Board, naive: Path) -> None:
    edit(naive / "runs" / "seed1.json", put("cost.flops_ranked", False))
    assert rules(board, "warning") == {"B1"}
    edit(naive / "runs" / "seed1.json", put("cost.flops_ranked", True))
    edit(naive / "runs" / "seed2.json", put("cost.flops_uncounted", ["_fft_c2c"]))
    assert rules(board) == set()
    assert rules(board, "warning") == {"B1"}


def test_an_estimate_that_does_not_hold_is_told_until_every_call_was_counted(
    board: Board, naive: Path
) -> None:
    edit(naive / "runs" / "seed1.json", put("cost.flops_ranked", False))
    assert rules(board, "warning") == {"B1"}
    write_verification(load_entry(naive), ledger_of(board, load_entry(naive)))
    assert rules(board, "warning") == set()


def test_the_budget_of_operations_is_kept(board: Board, naive: Path) -> None:
    tight = dataclasses.replace(board, budget=Budget(train_flops=1))
    assert {f.rule for f in validate(tight, load_entry(naive))} == {"B1"}
    for path in (naive / "runs").iterdir():  # estimates that do not hold: the verifier counts
        edit(path, put("cost.flops_ranked", False))
    assert {f.level for f in validate(tight, load_entry(naive))} == {"warning"}


def test_an_unknown_commit_is_a_warning(board: Board, naive: Path) -> None:
    edit(naive / "runs" / "seed2.json", lambda data: data["code"].update(commit=None, dirty=None))
    assert rules(board) == set()
    assert rules(board, "warning") == {"C4"}


def test_what_differs_from_the_tree_is_stale(board: Board, naive: Path) -> None:
    """A consistent entry whose strategy is named as a built-in one but is another."""
    source = with_own_source(naive) / "strategy.py"
    source.write_text(source.read_text() + "\nEXTRA = 1\n")
    from clbench.plugins.source import source_sha256

    own = source_sha256(source)["own"]

    def change(data: dict[str, Any]) -> None:
        data["sources"]["strategy"] = own
        data["source_sha256"] = sha256_of(data["sources"])

    for path in (naive / "runs").iterdir():
        edit(path, change)
    assert rules(board) == set()
    assert rules(board, "warning") == {"C3"}


@pytest.mark.parametrize("group", ["strategy", "model", "scenario"])
@pytest.mark.parametrize("change", ["a reworded error", "another constant"])
def test_only_what_changes_a_result_makes_an_entry_stale(
    board: Board,
    naive: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    group: str,
    change: str,
) -> None:
    """The plug-in of this clbench has been edited since; no source of a model is in the entry."""
    from clbench.leaderboard.rules import sources
    from clbench.plugins.registry import Plugin, plugins

    name = {"strategy": "naive", "model": "mlp", "scenario": "scole"}[group]
    text = plugins(group)[name].path.read_text()
    before, after = tmp_path / "before.py", tmp_path / f"{name}.py"
    before.write_text(text + "\nif False:\n    raise ValueError('old')\n")
    new = "'new words')\n" if change == "a reworded error" else "'old')\nEXTRA = 1\n"
    after.write_text(text + "\nif False:\n    raise ValueError(" + new)
    if group == "strategy":
        (with_own_source(naive) / "strategy.py").write_text(before.read_text())

    def ran(data: dict[str, Any]) -> None:
        data["sources"][group] = source_sha256(before)["own"]
        data["source_sha256"] = sha256_of(data["sources"])
        data["plugin_sha256"][group] = identity_sha256(before)

    for path in (naive / "runs").iterdir():
        edit(path, ran)
    tree = sources._plugins(group)
    edited = {**tree, name: Plugin(group, name, after)}
    monkeypatch.setattr(sources, "_plugins", lambda g: edited if g == group else plugins(g))
    sources.tree_sha256.cache_clear()
    assert rules(board) == set()
    is_stale = change == "another constant" and group != "scenario"  # its streams have a hash
    assert rules(board, "warning") == ({"C3"} if is_stale else set())
    sources.tree_sha256.cache_clear()


def test_entries_with_the_same_answers_are_told(board: Board, naive: Path) -> None:
    another = shutil.copytree(naive, naive.with_name("another"))
    edit_yaml(another / "entry.yaml", name="another")
    assert rules(board) == set()
    assert rules(board, "warning") == {"C2"}


def test_a_verification_of_other_runs_is_told(board: Board, naive: Path) -> None:
    found = ledger_of(board, load_entry(naive))
    write_verification(load_entry(naive), found)
    assert list(validate_board(board)) == []
    other = dataclasses.replace(found.seeds["0"], claim_sha256="0" * 64)
    write_verification(load_entry(naive), dataclasses.replace(found, seeds={"0": other}))
    assert rules(board, "warning") == {"C3"}


def test_large_literals_are_named(board: Board, naive: Path) -> None:
    """For a person to look at; honest ones are valid."""
    own = with_own_source(naive) / "strategy.py"
    text = own.read_text()
    small = f"\nA = {'x' * 1900!r}\n"
    large = f"\nB = {[0.125] * 400!r}\nC = {'y' * 3000!r}\n"
    own.write_text(text + small + large + "D = [\n" + "    1,\n" * 300 + "]\n")
    found = [f for f in validate(board, load_entry(naive)) if f.rule == "S4"]
    assert [f.level for f in found] == ["warning"] * 3
    start = text.count("\n") + 2
    assert [int(f.message.split("line ")[1].split(":")[0]) for f in found] == [
        *range(start + 2, start + 5),
    ]  # fmt: skip


def test_a_change_needs_a_reason(board: Board, naive: Path, tmp_path: Path) -> None:
    before = dataclasses.replace(board, folder=tmp_path / "before" / "tiny")
    shutil.copytree(board.folder, before.folder)
    assert list(validate_board(board, before)) == []

    def better(data: dict[str, Any]) -> None:
        for row in data["counts"]["correct"]:
            row[:] = [cell["size"] for cell in data["counts"]["cells"]]
        agree(data)

    edit(naive / "runs" / "seed2.json", better)
    assert "P2" in {f.rule for f in validate_board(board, before)}
    edit(naive / "runs" / "seed2.json", put("sources.strategy", "0" * 64))
    assert "P2" not in {f.rule for f in validate_board(board, before)}


def test_an_open_entry_brings_its_model(board: Board, tmp_path: Path) -> None:
    """A strategy and a model from files of the user, in the open division, with a path to data."""
    from clbench.leaderboard.submit import submit
    from clbench.plugins.registry import find

    mine, wide = tmp_path / "mine.py", tmp_path / "wide.py"
    mine.write_bytes(find("strategy", "naive").path.read_bytes())
    wide.write_bytes(find("model", "mlp").path.read_bytes())
    arm = run_on(board, tmp_path / "runs", f"strategy={mine}", f"model={wide}", "division=open",
                 "strategy.lr=0.05")  # fmt: skip
    _, entry = submit(arm, "mine", board.folder.parent)
    declared = {"no_test_data": True, "no_evaluation_seed_tuning": True}
    edit_yaml(entry.folder / "entry.yaml", declaration=declared)
    found = [f for f in validate(board, load_entry(entry.folder)) if f.rule != "C4"]
    assert found == []
    load_entry(entry.folder).source_of("model").unlink()
    assert "C3" in {f.rule for f in validate(board, load_entry(entry.folder)) if f.level == "error"}


def test_code_that_means_the_same_is_not_stale(
    board: Board, naive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree's strategy with another docstring or text of an error is the one that ran."""
    real = sources.tree_sha256
    monkeypatch.setattr(
        sources, "tree_sha256", lambda *of: "0" * 64 if of[0] == "strategy" else real(*of)
    )
    assert rules(board, "warning") == set()


def test_a_raised_version_makes_what_stands_on_it_stale(
    board: Board, naive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "RESULTS_VERSION", version.RESULTS_VERSION + 1)
    assert rules(board, "warning") == {"C3"}
    monkeypatch.setattr(sources, "RESULTS_VERSION", version.RESULTS_VERSION)
    monkeypatch.setattr(sources, "base_versions", lambda path: {"replay": 2})
    assert rules(board, "warning") == {"C3"}


def test_other_source_of_the_engine_in_one_run_is_no_fault(board: Board, naive: Path) -> None:
    """A finished run is reused where the versions of results are the same."""

    def change(data: dict[str, Any]) -> None:
        data["sources"]["engine"] = "e" * 64
        data["source_sha256"] = sha256_of(data["sources"])

    edit(naive / "runs" / "seed2.json", change)
    write_verification(load_entry(naive), ledger_of(board, load_entry(naive)))
    assert list(validate_board(board)) == []
    edit(
        naive / "runs" / "seed2.json",
        put("results_versions", {"engine": version.RESULTS_VERSION + 1}),
    )
    assert "C2" in rules(board)
