"""Tuning: by the rules, and never on test."""

from __future__ import annotations

import dataclasses
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import declare, edit, make_board, run_on, write_board
from torch import Tensor

from clbench import space
from clbench.configure import tuning
from clbench.configure.board import Anchor, Board, Budget, Tuning, load_board
from clbench.configure.config import resolve
from clbench.data.pool import Arrays, Split, TensorPool
from clbench.engine.execute import Options, record_of
from clbench.errors import UsageError
from clbench.leaderboard import retune
from clbench.leaderboard.entry import ledger_file, load_entry
from clbench.leaderboard.pages.summary import summarise_entry
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.rerun import compare, point_of, rerun
from clbench.leaderboard.reproduce.verify import Verifier
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.scores import score
from clbench.leaderboard.submit import submit
from clbench.leaderboard.tune import tune, value_of
from clbench.leaderboard.verification import trials_again, write_verification
from clbench.plugins.registry import find
from clbench.results.record import Record
from clbench.sweeps.local import run_all

N_TRIALS, N_TASKS = 4, 6


class Sealed(TensorPool):
    """A pool whose test split cannot be touched."""

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        assert split == "train", "test was opened"
        return super().gather(split, index)

    def labels(self, split: Split) -> np.ndarray:
        assert split == "train", "test was opened"
        return super().labels(split)


Tuned = tuple[dict[str, Any], Path]


@pytest.fixture(scope="module")
def tuning_board(tiny_board: Board, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """The tiny board, with tuning as part of its protocol."""
    folder = tmp_path_factory.mktemp("tuning-boards") / "tiny"
    rules = Tuning(N_TRIALS, N_TASKS)
    write_board(dataclasses.replace(tiny_board, folder=folder, tuning=rules))
    return load_board(folder)


def tuned(board: Board, out: Path, *words: str) -> Tuned:
    options = Options(out=out, quiet=True, curve=False)
    given = [f"board={board.folder}", "strategy=naive", "device=cpu", *words]
    return tune(given, options, lambda line: None)


@pytest.fixture(scope="module")
def done(tuning_board: Board, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tuned(tuning_board, tmp_path_factory.mktemp("tuning"))


def test_the_board_says_what_is_tried(done: Tuned, tuning_board: Board) -> None:
    table, path = done
    assert tuning.read(path) == table
    assert len(table["results"]) == N_TRIALS
    assert table["results"][0]["settings"] == {}  # the defaults first
    low, high = table["space"]["strategy.lr"]["log"]
    assert (low, high) == (0.003, 0.5)  # around SGD's 0.1
    for trial in table["results"][1:]:
        assert low <= float(trial["settings"]["strategy.lr"]) <= high
    records = [Record.load(p) for p in path.parent.parent.rglob("record.json")]
    assert len(records) == N_TRIALS * len(tuning_board.tuning_seeds)
    assert {record.seed for record in records} == set(tuning_board.tuning_seeds)
    assert {record.config["evaluate_on"] for record in records} == {"val"}
    assert {len(record.tasks["end"]) for record in records} == {N_TASKS}


def test_the_best_mean_is_chosen(done: Tuned) -> None:
    table, _ = done
    means = [sum(t["values"]) / len(t["values"]) for t in table["results"]]
    assert table["best"] == table["results"][means.index(max(means))]["settings"]
    assert len(set(means)) > 1


def test_draws_are_recomputed_and_independent_of_other_settings() -> None:
    lr, lam = space.Log(0.003, 0.5), space.Log(1, 100)
    one = [space.drawn({"lr": lr}, "key", k) for k in range(200)]
    two = [space.drawn({"lam": lam, "lr": lr}, "key", k) for k in range(200)]
    assert [d.get("lr") for d in one] == [d.get("lr") for d in two]
    assert one != [space.drawn({"lr": lr}, "other", k) for k in range(200)]
    logs = np.log([float(d["lr"]) for d in one[1:]])
    share = (logs - np.log(0.003)) / (np.log(0.5) - np.log(0.003))
    assert abs(share.mean() - 0.5) < 0.1
    assert abs(share.std() - 12**-0.5) < 0.05
    picked = [space.drawn({"k": space.Choices(1, "b", None)}, "key", k)["k"] for k in range(1, 99)]
    assert set(picked) == {"1", "b", "null"}


def test_a_setting_that_is_given_is_in_all_trials(tuning_board: Board, tmp_path: Path) -> None:
    table, _ = tuned(tuning_board, tmp_path, "strategy.lr=0.1", "strategy.momentum=0,0.5")
    assert table["fixed"]["strategy.lr"] == "0.1"
    assert table["space"] == {"strategy.momentum": {"choices": ["0", "0.5"]}}
    assert {t["settings"].get("strategy.momentum") for t in table["results"]} <= {None, "0", "0.5"}
    # The default is momentum 0: equal settings are one run, and have equal values.
    equal = [t["values"] for t in table["results"] if t["settings"] != {"strategy.momentum": "0.5"}]
    assert all(values == equal[0] for values in equal)


def test_a_trial_beyond_its_share_of_the_budget_counts_nothing(done: Tuned, tuning_board: Board):
    record = Record.load(next(done[1].parent.parent.rglob("record.json")))
    spent = record.cost["train_flops"]
    whole = spent * record.stream["n_tasks"] / N_TASKS
    for budget, counts in ((round(whole * 1.01), True), (round(whole * 0.99), False)):
        board = dataclasses.replace(tuning_board, budget=Budget(train_flops=budget))
        assert (value_of(board, board.primary, record) > 0) is counts
    rough = dataclasses.replace(record, cost={**record.cost, "flops_ranked": False})
    assert value_of(board, board.primary, rough) > 0  # an estimate that does not hold


def test_another_test_split_changes_nothing(
    done: Tuned,
    tuning_board: Board,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits: Any = find("data", "digits").load()
    real = digits.arrays

    def other(self: Any) -> Arrays:
        a: Arrays = real(self)
        return dataclasses.replace(a, test_x=16 - a.test_x, test_y=(a.test_y + 1) % a.n_classes)

    monkeypatch.setattr(digits, "arrays", other)
    table, _ = tuned(tuning_board, tmp_path)
    assert table == done[0]


def test_test_is_never_opened(
    tuning_board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits: Any = find("data", "digits").load()

    def sealed(self: Any, device: torch.device) -> TensorPool:
        return Sealed(self.arrays(), device)

    monkeypatch.setattr(digits, "pool", sealed)
    table, _ = tuned(tuning_board, tmp_path, "strategy.lr=0.1")
    assert max(table["results"][0]["values"]) > 0.1
    with pytest.raises(UsageError, match="test was opened"):  # the seal holds
        run_on(tuning_board, tmp_path / "runs", "strategy=naive", "seed=0")


@pytest.mark.parametrize("word", ["seed=100", "evaluate_on=test", "max_tasks=2", "tuned=x"])
def test_what_the_rules_set_is_refused(tuning_board: Board, tmp_path: Path, word: str) -> None:
    key = word.partition("=")[0]
    with pytest.raises(UsageError, match=f"{key}= cannot be set"):
        tuned(tuning_board, tmp_path, word)


@pytest.mark.parametrize("missing", ["board", "strategy"])
def test_board_and_strategy_are_required(tuning_board: Board, missing: str) -> None:
    words = {"board": f"board={tuning_board.folder}", "strategy": "strategy=naive"}
    del words[missing]
    with pytest.raises(UsageError, match=f"{missing}= is required"):
        tune([*words.values()], Options(), lambda line: None)


def test_one_strategy_at_a_time(tuning_board: Board) -> None:
    words = [f"board={tuning_board.folder}", "strategy=naive,ewc"]
    with pytest.raises(UsageError, match="one strategy at a time"):
        tune(words, Options(), lambda line: None)


def test_a_run_takes_the_best_and_records_the_tuning(
    done: Tuned, tuning_board: Board, tmp_path: Path
) -> None:
    table, path = done
    arm = run_on(tuning_board, tmp_path, "strategy=naive", f"tuned={path}", "seed=0", "max_tasks=2")
    record = Record.load(arm / "seed0" / "record.json")
    lr = record.config["strategy"]["lr"]
    assert lr == (float(table["best"]["strategy.lr"]) if table["best"] else None)
    sha = tuning.table_sha256(table)
    assert record.tuning == {"ruleset": "tuned", "trials": N_TRIALS, "grid_sha256": sha}


def test_a_file_of_another_board_or_strategy_is_refused(
    done: Tuned, tuning_board: Board, tmp_path: Path
) -> None:
    path = done[1]
    other = make_board(tmp_path / "other", "threads=2")
    with pytest.raises(UsageError, match="another board or version"):
        resolve([f"board={other.folder}", "strategy=naive", f"tuned={path}", "seed=0"])
    with pytest.raises(UsageError, match="is of strategy 'naive'"):
        resolve([f"board={tuning_board.folder}", "strategy=ewc", f"tuned={path}", "seed=0"])


@pytest.mark.parametrize("key", ["board", "strategy", "space", "results", "best"])
def test_a_malformed_file_is_refused(
    done: Tuned, tuning_board: Board, tmp_path: Path, key: str
) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(done[1].read_text())
    edit(path, lambda data: data.pop(key))
    with pytest.raises(UsageError, match="is not what clbench tune writes"):
        resolve([f"board={tuning_board.folder}", "strategy=naive", f"tuned={path}", "seed=0"])


def test_a_tuned_file_does_not_unfix_the_board(
    done: Tuned, tuning_board: Board, tmp_path: Path
) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(done[1].read_text())
    edit(path, lambda data: data["best"].update({"scenario.n_tasks": "3"}))
    with pytest.raises(UsageError, match=r"scenario\.n_tasks"):
        resolve([f"board={tuning_board.folder}", "strategy=naive", f"tuned={path}", "seed=0"])


@pytest.fixture(scope="module")
def tuned_entry(done: Tuned, tuning_board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned entry as submitted, all its seeds run."""
    root = tuning_board.folder.parent
    out = done[1].parent.parent
    arm = run_on(tuning_board, out, "strategy=naive", f"tuned={done[1]}")
    _, entry = submit(arm, "naive", root)
    declare(entry.folder)
    return entry.folder


def findings(board: Board, entry: Path) -> list[str]:
    return [f.message for f in validate(board, load_entry(entry)) if f.rule == "T1"]


def test_the_table_is_part_of_the_entry(
    tuned_entry: Path, done: Tuned, tuning_board: Board
) -> None:
    assert tuning.read(tuned_entry / retune.TABLE) == done[0]
    assert load_entry(tuned_entry).meta.tuned_on == tuning_board.tuning_seeds  # type: ignore[union-attr]
    assert [f for f in validate(tuning_board, load_entry(tuned_entry)) if f.level == "error"] == []


def raise_a_loser(table: dict[str, Any]) -> None:
    loser = (tuning.best_trial(table["results"]) + 1) % N_TRIALS
    table["results"][loser]["values"] = [0.99, 0.99]


FORGERIES = {
    "another choice": (raise_a_loser, "best is not what the trials give"),
    "more trials": (
        lambda t: t["results"].append(t["results"][0]),
        "has 5 trials; the board has 4",
    ),
    "fewer trials": (lambda t: t["results"].pop(), "has 3 trials"),
    "a drawn setting": (
        lambda t: t["results"][1]["settings"].update({"strategy.lr": "0.2"}),
        "trial 1 is not what the search draws",
    ),
    "other seeds": (lambda t: t.update(seeds=[0, 1]), "seeds is [0, 1]"),
    "no space": (lambda t: t["space"].update({"strategy.lr": {"log": [1, 0]}}), "is no space"),
    "a value less": (lambda t: t["results"][2]["values"].pop(), "lacks a value"),
    "another metric": (lambda t: t.update(primary="world_accuracy"), "primary is"),
    "more tasks": (lambda t: t.update(tasks=20), "tasks is 20"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_table_is_refused(
    tuned_entry: Path, tuning_board: Board, tmp_path: Path, name: str
) -> None:
    path = tuned_entry / retune.TABLE
    kept = path.read_text()
    change, wrong = FORGERIES[name]
    try:
        edit(path, change)
        said = findings(tuning_board, tuned_entry)
    finally:
        path.write_text(kept)
    assert any(wrong in line for line in said)
    assert any("names another trial table" in line for line in said)  # the records pin it


def test_an_entry_without_a_table_is_refused_where_the_board_tunes(
    tuned_entry: Path, tuning_board: Board, naive: Path, board: Board
) -> None:
    path = tuned_entry / retune.TABLE
    kept = path.read_text()
    path.unlink()
    try:
        assert any("is missing" in line for line in findings(tuning_board, tuned_entry))
    finally:
        path.write_text(kept)
    assert findings(board, naive) == []  # a board from before


def test_an_entry_without_a_table_runs_with_the_defaults(
    tuned_entry: Path, tuning_board: Board, tmp_path: Path, zygote: Zygote
) -> None:
    """It is valid; one that hides a setting is refused by what it does."""
    plain, hidden = (tuned_entry.parent / name for name in ("plain", "hidden"))
    try:
        for slug, words in (("plain", ()), ("hidden", ("strategy.lr=0.2",))):
            arm = run_on(tuning_board, tmp_path, "strategy=naive", "seed=0", *words)
            declare(submit(arm, slug, tuning_board.folder.parent)[1].folder)
        assert findings(tuning_board, plain) == []
        assert any("not the defaults" in line for line in findings(tuning_board, hidden))
        for path in (hidden / "runs").iterdir():
            edit(path, lambda record: record.update(overrides=record["overrides"][:2]))
        [said] = findings(tuning_board, hidden)
        assert said.startswith("strategy.lr is 0.2, which no trial chose; else it is None: leave")
        for path in (hidden / "runs").iterdir():
            edit(path, lambda record: record["config"]["strategy"].update(lr=None))
        assert findings(tuning_board, hidden) == []
        for slug, same in ((plain, True), (hidden, False)):
            entry = load_entry(slug)
            found = rerun(point_of(tuning_board, entry, entry.records[0]), zygote=zygote)
            assert compare(tuning_board, entry.records[0], found.record).equal is same
    finally:
        for folder in (plain, hidden):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_trials_are_run_again_isolated_and_kept(
    tuned_entry: Path, tuning_board: Board, zygote: Zygote
) -> None:
    entry = load_entry(tuned_entry)
    naive = Anchor("naive", score(tuning_board, entry)[0] - 0.01, 0.01, 10**6)
    board = dataclasses.replace(tuning_board, naive=naive)
    with Verifier(board, perturbed=0, tuning=True, zygote=zygote) as verifier:
        report = verifier.verify(entry, [0])
    assert report.refusals == []
    assert sum(line.startswith("tuning: ") and line.endswith("equal") for line in report.lines) == 3
    assert report.found is not None
    assert report.found.tuning is not None
    best = tuning.best_trial(tuning.read(tuned_entry / retune.TABLE)["results"])
    assert report.found.tuning["trials"][0] == best
    try:
        write_verification(entry, report.found)
        row = summarise_entry(board, load_entry(tuned_entry), [])
        assert row.tier_text == "reproduced 1/5, 3 trials"
        write_verification(load_entry(tuned_entry), dataclasses.replace(report.found, tuning=None))
        assert trials_again(load_entry(tuned_entry)) == report.found.tuning  # it still holds
    finally:
        ledger_file(tuned_entry).unlink()


def test_trials_are_run_again(tuned_entry: Path, tuning_board: Board, tmp_path: Path) -> None:
    def value(words: list[str]) -> float:
        from clbench.configure.sweep import sweep

        [done] = run_all(
            sweep([*words, "device=cpu"]), Options(out=tmp_path, quiet=True, curve=False)
        )
        return value_of(tuning_board, tuning_board.primary, record_of(done))

    entry = load_entry(tuned_entry)
    found = retune.rerun_trials(tuning_board, entry, value, random.Random(0))
    assert len(found) == 3
    assert [one.best for one in found] == [True, False, False]
    assert all(one.equal for one in found)
    path = tuned_entry / retune.TABLE
    kept = path.read_text()
    try:
        edit(path, lambda table: [t.update(values=[0.5, 0.6]) for t in table["results"]])
        forged = retune.rerun_trials(tuning_board, load_entry(tuned_entry), value, random.Random(0))
    finally:
        path.write_text(kept)
    assert not any(one.equal for one in forged)
    assert "differs: the table has 0.550000" in retune.report(forged)[0]


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"trials": 3}, "--trials: board"),
        ({"primary": "world_accuracy"}, "--metric: board"),
        ({"sampler": "tpe"}, "a board's search is random"),
    ],
)
def test_a_board_fixes_the_search(tuning_board: Board, given: dict[str, Any], wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        tune([f"board={tuning_board.folder}", "strategy=naive"], Options(), print, **given)
