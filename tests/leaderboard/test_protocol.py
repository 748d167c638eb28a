"""What a board fills in, and what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from tiny import SEEDS, edit_yaml, write_board

from clbench.configure.board import Board, find_board, load_board
from clbench.configure.config import RunConfig, resolve
from clbench.configure.protocol import Protocol
from clbench.engine.build import prepare
from clbench.errors import UsageError

OTHERS = {
    "scenario": "class-incremental",
    "scenario.n_tasks": "21",
    "scenario.classes_per_task": "3",
    "scenario.share": "0.5",
    "scenario.forgetting": "true",
    "data": "npz",
    "data.augment": "crop_flip",
    "model": "linear",
    "model.hidden": "[9]",
    "eval_every": "2",
    "evaluate_on": "val",
    "threads": "2",
    "strategy.epochs": "2",
    "strategy.batch_size": "16",
}
"""Valid values that the tiny board does not have."""


def on(board: Board, *words: str) -> list[RunConfig]:
    return resolve([f"board={board.folder}", "strategy=naive", "device=cpu", *words])


def test_a_board_fills_in_the_rest(tiny_board: Board) -> None:
    configs = on(tiny_board)
    assert [config.common.seed for config in configs] == list(SEEDS)
    for config in configs:
        settings = config.as_dict()
        assert {k: settings[k] for k in tiny_board.settings} == tiny_board.settings
        assert settings["model"] == tiny_board.model
        assert settings["strategy"]["batch_size"] == tiny_board.budget.batch_size
        assert config.protocol is not None
        assert config.protocol.as_dict() == {
            "name": "tiny",
            "protocol": "1.0",
            "division": "network",
        }


def test_everything_fixed_is_refused_by_name(tiny_board: Board) -> None:
    settings = on(tiny_board, "seed=0")[0].as_dict()
    protocol = Protocol(tiny_board, "network")
    protocol.check(settings)
    fixed = [*tiny_board.fixed("network"), "strategy.epochs", "strategy.batch_size"]
    assert {"scenario", "data", "model", "model.hidden", "eval_every", "evaluate_on"} <= set(fixed)
    for key in fixed:
        changed: Any = copy.deepcopy(settings)
        group, dot, name = key.partition(".")
        if isinstance(changed[group], dict):
            changed[group][name if dot else "name"] = "other"
        else:
            changed[group] = "other"
        with pytest.raises(UsageError, match=rf"fixes {key}=.*, not other"):
            protocol.check(changed)


@pytest.mark.parametrize(("key", "value"), OTHERS.items())
def test_a_word_cannot_change_what_is_fixed(tiny_board: Board, key: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"fixes {key}=") as caught:
        on(tiny_board, "seed=0", f"{key}={value}")
    assert "\n" not in str(caught.value)


def test_saying_what_is_fixed_anyway_is_fine(tiny_board: Board) -> None:
    same = on(tiny_board, "seed=0", "scenario=scole", "scenario.n_tasks=20", "data=digits")
    assert same[0].as_dict() == on(tiny_board, "seed=0")[0].as_dict()


@pytest.mark.parametrize(
    "word",
    ["strategy.optimizer=adam", "strategy.lr=0.01", "strategy.momentum=0.9", "max_tasks=3"],
)
def test_strategy_and_optimizer_stay_free(tiny_board: Board, word: str) -> None:
    [config] = on(tiny_board, "seed=0", word)
    key, _, value = word.partition("=")
    group, dot, name = key.partition(".")
    settings = config.as_dict()
    assert str(settings[group][name] if dot else settings[group]) == value


def test_the_open_division_frees_the_model(tiny_board: Board) -> None:
    [config] = on(tiny_board, "seed=0", "division=open", "model=linear")
    assert config.as_dict()["model"]["name"] == "linear"
    with pytest.raises(UsageError, match=r"fixes scenario.n_tasks"):
        on(tiny_board, "seed=0", "division=open", "model=linear", "scenario.n_tasks=3")


def test_a_division_that_the_board_lacks_is_refused(board: Board) -> None:
    edited = load_board(board.folder)
    object.__setattr__(edited, "divisions", ("network",))
    write_board(edited)
    with pytest.raises(UsageError, match=r"division=open: .* has network"):
        on(edited, "seed=0", "division=open")


def test_other_seeds_are_refused(tiny_board: Board) -> None:
    with pytest.raises(UsageError, match=r"seed=7: .* has the seeds 0, 1, 2, 3, 4"):
        on(tiny_board, "seed=7")


def test_tuning_seeds_never_open_test(tiny_board: Board) -> None:
    with pytest.raises(UsageError, match="evaluate_on"):
        on(tiny_board, "seed=100")


@pytest.mark.parametrize("word", ["division=open", "tuned=some.json"])
def test_words_of_boards_need_a_board(word: str) -> None:
    with pytest.raises(UsageError, match="goes with board="):
        resolve(["scenario=scole", "strategy=naive", word])


def test_the_folder_is_another_than_without_a_board(tiny_board: Board) -> None:
    given = on(tiny_board, "seed=0")[0]
    settings = given.as_dict()
    words = [f"{group}={settings[group]['name']}" for group in ("scenario", "data", "model")]
    alone = resolve(
        [
            *words,
            "scenario.n_tasks=20",
            "model.hidden=[8]",
            "eval_every=log",
            "strategy=naive",
            "device=cpu",
        ]
    )[0]
    assert alone.as_dict() == settings
    out, pools = Path("out"), {}
    folders = {prepare(config, pools).folder(out) for config in (given, alone)}
    assert len(folders) == 2
    opened = on(tiny_board, "seed=0", "division=open")[0]
    assert prepare(opened, pools).folder(out) not in folders


def test_an_unknown_board_is_refused_with_the_nearest(board: Board) -> None:
    with pytest.raises(UsageError, match=r"unknown board 'tinyy'.*tiny"):
        find_board("tinyy", board.folder.parent)


def test_an_edited_board_is_refused(board: Board) -> None:
    edit_yaml(board.folder / "board.yaml", seeds=[0, 1, 2, 3, 4], title="better")
    with pytest.raises(UsageError, match="changed after it was frozen"):
        load_board(board.folder)
