"""Tuning: by the rules, and never on test."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import edit, make_board, run_on
from torch import Tensor

from clbench.configure.board import Board
from clbench.configure.config import resolve
from clbench.data.pool import Arrays, Split, TensorPool
from clbench.engine.execute import Options
from clbench.errors import UsageError
from clbench.leaderboard.tune import MAX_TRIALS, Trial, tune
from clbench.plugins.registry import find
from clbench.results.record import Record

GRID = "strategy.lr=0.0001,0.1"


class Sealed(TensorPool):
    """A pool whose test split cannot be touched."""

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        assert split == "train", "test was opened"
        return super().gather(split, index)

    def labels(self, split: Split) -> np.ndarray:
        assert split == "train", "test was opened"
        return super().labels(split)


def tuned(board: Board, out: Path, *words: str) -> tuple[list[Trial], Path]:
    options = Options(out=out, quiet=True)
    given = [f"board={board.folder}", "strategy=naive", "device=cpu", *words]
    return tune(given, options, lambda line: None)


@pytest.fixture(scope="module")
def done(tiny_board: Board, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], Path]:
    return tuned(tiny_board, tmp_path_factory.mktemp("tuning"), GRID)


def test_best_first_on_the_tuning_seeds(done: tuple[list[Trial], Path], tiny_board: Board) -> None:
    trials, path = done
    assert [trial.settings for trial in trials] == [{"strategy.lr": v} for v in ("0.1", "0.0001")]
    assert trials[0].mean > trials[1].mean
    assert all(len(trial.values) == len(tiny_board.tuning_seeds) for trial in trials)
    data = json.loads(path.read_text())
    assert data["best"] == trials[0].settings
    assert data["seeds"] == list(tiny_board.tuning_seeds)
    records = [Record.load(p) for p in path.parent.parent.rglob("record.json")]
    assert {record.seed for record in records} == set(tiny_board.tuning_seeds)
    assert {record.config["evaluate_on"] for record in records} == {"val"}


def test_another_test_split_changes_nothing(
    done: tuple[list[Trial], Path],
    tiny_board: Board,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits: Any = find("data", "digits").load()
    real = digits.arrays

    def other(self: Any) -> Arrays:
        a: Arrays = real(self)
        return dataclasses.replace(a, test_x=16 - a.test_x, test_y=(a.test_y + 1) % a.n_classes)

    monkeypatch.setattr(digits, "arrays", other)
    trials, _ = tuned(tiny_board, tmp_path, GRID)
    assert trials == done[0]


def test_test_is_never_opened(
    tiny_board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits: Any = find("data", "digits").load()

    def sealed(self: Any, device: torch.device) -> TensorPool:
        return Sealed(self.arrays(), device)

    monkeypatch.setattr(digits, "pool", sealed)
    trials, _ = tuned(tiny_board, tmp_path, "strategy.lr=0.1")
    assert trials[0].mean > 0.1
    with pytest.raises(UsageError, match="test was opened"):  # the seal holds
        run_on(tiny_board, tmp_path / "runs", "strategy=naive", "seed=0")


@pytest.mark.parametrize("word", ["seed=100", "evaluate_on=test", "evaluate_on=val", "tuned=x"])
def test_what_the_rules_set_is_refused(tiny_board: Board, tmp_path: Path, word: str) -> None:
    key = word.partition("=")[0]
    with pytest.raises(UsageError, match=f"{key}= cannot be set"):
        tuned(tiny_board, tmp_path, word)


def test_too_many_trials_are_refused(tiny_board: Board, tmp_path: Path) -> None:
    grid = "strategy.lr=" + ",".join(str(0.01 * (1 + i)) for i in range(MAX_TRIALS + 1))
    with pytest.raises(UsageError, match=f"{MAX_TRIALS + 1} trials: a board allows {MAX_TRIALS}"):
        tuned(tiny_board, tmp_path, grid)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("missing", ["board", "strategy"])
def test_board_and_strategy_are_required(tiny_board: Board, missing: str) -> None:
    words = {"board": f"board={tiny_board.folder}", "strategy": "strategy=naive"}
    del words[missing]
    with pytest.raises(UsageError, match=f"{missing}= is required"):
        tune([*words.values()], Options(), lambda line: None)


def test_one_strategy_at_a_time(tiny_board: Board) -> None:
    words = [f"board={tiny_board.folder}", "strategy=naive,ewc"]
    with pytest.raises(UsageError, match="one strategy at a time"):
        tune(words, Options(), lambda line: None)


def test_a_run_takes_the_best_and_records_the_tuning(
    done: tuple[list[Trial], Path], tiny_board: Board, tmp_path: Path
) -> None:
    path = done[1]
    arm = run_on(tiny_board, tmp_path, "strategy=naive", f"tuned={path}", "seed=0", "max_tasks=2")
    record = Record.load(arm / "seed0" / "record.json")
    assert record.config["strategy"]["lr"] == 0.1
    grid = json.loads(path.read_text())["grid_sha256"]
    assert record.tuning == {"ruleset": "tuned", "trials": 2, "grid_sha256": grid}


def test_a_file_of_another_board_or_strategy_is_refused(
    done: tuple[list[Trial], Path], tiny_board: Board, tmp_path: Path
) -> None:
    path = done[1]
    other = make_board(tmp_path / "other", "threads=2")
    with pytest.raises(UsageError, match="another board or version"):
        resolve([f"board={other.folder}", "strategy=naive", f"tuned={path}", "seed=0"])
    with pytest.raises(UsageError, match="is of strategy 'naive'"):
        resolve([f"board={tiny_board.folder}", "strategy=ewc", f"tuned={path}", "seed=0"])


@pytest.mark.parametrize("key", ["board", "strategy", "trials", "grid_sha256", "best"])
def test_a_malformed_file_is_refused(
    done: tuple[list[Trial], Path], tiny_board: Board, tmp_path: Path, key: str
) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(done[1].read_text())
    edit(path, lambda data: data.pop(key))
    with pytest.raises(UsageError, match="is not what clbench tune writes"):
        resolve([f"board={tiny_board.folder}", "strategy=naive", f"tuned={path}", "seed=0"])


def test_a_tuned_file_does_not_unfix_the_board(
    done: tuple[list[Trial], Path], tiny_board: Board, tmp_path: Path
) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(done[1].read_text())
    edit(path, lambda data: data["best"].update({"scenario.n_tasks": "3"}))
    with pytest.raises(UsageError, match=r"scenario\.n_tasks"):
        resolve([f"board={tiny_board.folder}", "strategy=naive", f"tuned={path}", "seed=0"])
