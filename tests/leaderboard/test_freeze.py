"""Making a board: a draft, and a freeze that refuses what cannot rank."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import edit_yaml

from clbench.configure.board import Anchor, Board, Reference, load_board
from clbench.configure.config import resolve
from clbench.engine.build import prepare
from clbench.engine.execute import Done, Options, record_of
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.freeze import MIN_SPREAD, _refuse_beaten, _refuse_blind, freeze, new
from clbench.results.record import Record

WORDS = ["scenario=scole", "data=digits", "eval_every=log", "model=mlp", "model.hidden=[32]"]


def frozen(root: Path) -> Board:
    options = Options(out=root / "runs", quiet=True, curve=False)
    return freeze("mine", root, options, lambda line: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A small board that was drafted and frozen."""
    root = tmp_path_factory.mktemp("frozen")
    drafted(root)
    return frozen(root)


def drafted(root: Path) -> None:
    draft = new("mine", [*WORDS, "scenario.n_tasks=12", "scenario.share=0.4"], root)
    anchors = yaml.safe_load(draft.read_text())["anchors"] | {"words": ["ridge.projection=64"]}
    edit_yaml(
        draft, training={"memory_size": 50, "clip_norm": 9.5}, tuning_tasks=4, anchors=anchors
    )


def test_new_writes_a_draft(tmp_path: Path) -> None:
    path = new("mine", [*WORDS, "scenario.n_tasks=12"], tmp_path)
    assert path == tmp_path / "mine" / "draft.yaml"
    draft = yaml.safe_load(path.read_text())
    assert draft["words"] == [*WORDS, "scenario.n_tasks=12"]
    assert not set(draft["seeds"]) & set(draft["tuning_seeds"])
    with pytest.raises(UsageError, match="exists"):
        new("mine", WORDS, tmp_path)


@pytest.mark.parametrize(
    "word", ["strategy=ewc", "strategy.lr=1", "seed=1", "device=cpu", "board=x"]
)
def test_new_refuses_what_is_the_entrants(tmp_path: Path, word: str) -> None:
    with pytest.raises(UsageError, match="a board does not fix this setting"):
        new("mine", [*WORDS, word], tmp_path)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["", "Mine", "../mine", "a/b", "a" * 61])
def test_new_refuses_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="board name"):
        new(name, WORDS, tmp_path)


def test_a_clock_of_operations_makes_no_board(tmp_path: Path) -> None:
    new("mine", [*WORDS, "scenario.n_tasks=12", "realtime=1"], tmp_path)
    with pytest.raises(UsageError, match="no clock here sees; drop it"):
        frozen(tmp_path)
    assert not (tmp_path / "runs").exists()


NO_BUDGET = dict.fromkeys(("epochs", "batch_size", "samples", "train_flops", "train_flops_times"))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"seeds": [*range(9)]}, "at least 10 seeds"),
        ({"seeds": [*range(9), 8]}, "at least 10 seeds"),
        ({"seeds": 5}, "seeds must be a list"),
        ({"tuning_seeds": [4, 100]}, "none of seeds"),
        ({"tuning_seeds": []}, "none of seeds"),
        (NO_BUDGET, "needs a budget"),
        ({"primary": "accuracy"}, "primary must be a metric"),
        ({"primary": "forgetting"}, "higher is better"),
        ({"primary": "backward_transfer"}, "no value is below 0"),
        ({"protocol": "1"}, "major.minor"),
        ({"divisions": ["half-open"]}, "divisions are network, any, open"),
        ({"divisions": []}, "divisions are network, any, open"),
        ({"colour": "red"}, "colour is unknown"),
    ],
)
def test_a_draft_that_cannot_be_a_board_is_refused(
    tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    edit_yaml(new("mine", WORDS, tmp_path), **values)
    with pytest.raises(UsageError, match=reason):
        frozen(tmp_path)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "mine" / "board.yaml").exists()


def test_a_board_that_was_never_drafted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clbench board new"):
        frozen(tmp_path)


def test_a_board_on_which_naive_equals_joint_is_refused(tmp_path: Path) -> None:
    new("mine", [*WORDS, "scenario.n_tasks=1"], tmp_path)
    with pytest.raises(UsageError, match="cannot rank"):
        frozen(tmp_path)
    assert not (tmp_path / "mine" / "board.yaml").exists()
    assert (tmp_path / "mine" / "draft.yaml").exists()


@pytest.mark.parametrize(
    ("in_trials", "whole", "refused"),
    [(0.012, 0.3, True), (0.05, 0.3, False), (0.012, 0.011, False)],
    ids=["learns later", "learns in time", "never learns"],
)
def test_a_board_whose_trials_show_nothing_is_refused(
    made: Board, in_trials: float, whole: float, refused: bool
) -> None:
    anchors = {"floor": 0.01, "naive": whole, "ceiling": 0.9}
    board = dataclasses.replace(made, **{k: Anchor(k, v, 0.01) for k, v in anchors.items()})
    if not refused:
        _refuse_blind(board, in_trials, 4)
        return
    with pytest.raises(UsageError, match="over the first 4 tasks naive is at 0"):
        _refuse_blind(board, in_trials, 4)


def test_freezing_tries_what_entries_are_tuned_on(
    made: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafted(tmp_path)
    shutil.copytree(made.folder.parent / "runs", tmp_path / "runs")
    tried: list[Record] = []

    def at_the_floor(board: Board, primary: str, record: Record) -> float:
        tried.append(record)
        return board.floor.mean

    monkeypatch.setattr("clbench.leaderboard.freeze.value_of", at_the_floor)
    with pytest.raises(UsageError, match="cannot tune: over the first 4 tasks"):
        frozen(tmp_path)
    assert [(r.seed, r.config["evaluate_on"], len(r.tasks["end"])) for r in tried] == [
        (seed, "val", 4) for seed in made.tuning_seeds
    ]
    assert not (tmp_path / "mine" / "board.yaml").exists()


def test_a_trial_of_the_whole_stream_needs_no_try(
    made: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafted(tmp_path)
    edit_yaml(tmp_path / "mine" / "draft.yaml", tuning_tasks=None)
    shutil.copytree(made.folder.parent / "runs", tmp_path / "runs")
    monkeypatch.setattr("clbench.leaderboard.freeze.value_of", lambda *_: 0.0)
    board = frozen(tmp_path)
    assert board.tuning is not None
    assert board.tuning.tasks is None


def test_a_frozen_board_has_its_scale(made: Board) -> None:
    assert made == load_board(made.folder)
    assert not (made.folder / "draft.yaml").exists()
    assert made.floor.mean == pytest.approx(0.1)  # ten classes
    apart = made.ceiling.mean - made.naive.mean
    assert apart >= MIN_SPREAD * max(made.naive.sd, made.ceiling.sd) > 0
    assert (
        made.ceiling.train_flops > made.naive.train_flops > 0
    )  # joint trains on all at every task


def test_a_frozen_board_pins_its_streams(made: Board) -> None:
    assert len(set(made.stream_sha256.values())) == len(made.seeds)
    [config] = resolve([f"board={made.folder}", "strategy=naive", "device=cpu", "seed=3"])
    stream = prepare(config).stream
    sha = stream.sha256
    for number in range(12):
        sha = stream.extend(sha, stream.draw(number))
    assert sha == made.stream_sha256[3]


def test_a_perturbed_run_that_is_interrupted_counts_as_nothing(
    made: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafted(tmp_path)
    shutil.copytree(made.folder.parent / "runs", tmp_path / "runs")

    def cut_off(done: Done) -> Record:
        record = record_of(done)
        perturbed = record.config["threads"] != made.settings["threads"]
        return dataclasses.replace(record, status="interrupted") if perturbed else record

    monkeypatch.setattr("clbench.leaderboard.freeze.record_of", cut_off)
    with pytest.raises(ClbenchError, match=r"seed0: interrupted; the board was not frozen"):
        frozen(tmp_path)
    assert not (tmp_path / "mine" / "board.yaml").exists()


def test_frozen_is_final(made: Board) -> None:
    root = made.folder.parent
    with pytest.raises(UsageError, match="is frozen"):
        frozen(root)
    with pytest.raises(UsageError, match="exists"):
        new("mine", WORDS, root)


CHANGES = [f.name for f in dataclasses.fields(Board) if f.name not in ("name", "folder", "sha256")]


@pytest.mark.parametrize("key", CHANGES)
def test_any_change_of_a_frozen_board_is_refused(made: Board, tmp_path: Path, key: str) -> None:
    path = tmp_path / "board.yaml"
    path.write_bytes((made.folder / "board.yaml").read_bytes())
    assert load_board(tmp_path).sha256 == made.sha256
    edit_yaml(path, **{key: _other(yaml.safe_load(path.read_text())[key])})
    with pytest.raises(UsageError, match=r"was changed after it was frozen"):
        load_board(tmp_path)


def _other(value: Any) -> Any:
    """Another value of the same form."""
    if isinstance(value, dict):
        key = next(k for k in reversed(value) if value[k] is not None)
        return {**value, key: _other(value[key])}
    if isinstance(value, list):
        return value[::-1] if len(value) > 1 else [*value, value[0] + 1]
    if isinstance(value, str):
        swap = {"1.0": "1.1", "anytime_world_accuracy": "world_accuracy"}
        return swap.get(value, value[:-1] + ("0" if value[-1:] != "0" else "1"))
    return value + 1


def test_the_anchors_stand_in_the_draft(tmp_path: Path) -> None:
    path = new("mine", [*WORDS, "scenario.n_tasks=12"], tmp_path)
    anchors = yaml.safe_load(path.read_text())["anchors"]
    assert anchors == {
        "floor": "chance",
        "naive": "naive",
        "ceiling": "joint",
        "references": ["ridge", "slda"],
        "words": [],
    }
    edit_yaml(path, anchors={**anchors, "naive": "ema", "ceiling": "er", "references": []})
    edit_yaml(path, words=[*WORDS, "scenario.n_tasks=1"])
    with pytest.raises(UsageError, match="cannot rank") as refused:
        frozen(tmp_path)
    assert "er " in str(refused.value)
    assert "ema" in str(refused.value)
    assert {p.name.partition("-")[0] for p in (tmp_path / "runs" / "scole").iterdir()} == {
        "ema",
        "er",
    }


@pytest.mark.parametrize(
    ("anchors", "reason"),
    [
        ({"floor": "zero", "naive": "naive", "ceiling": "joint"}, "anchors.floor"),
        ({"floor": "chance", "naive": "naiv", "ceiling": "joint"}, "did you mean 'naive'"),
        ({"floor": "chance", "naive": "naive", "ceiling": "naive"}, "no two strategies"),
        ({"floor": "chance", "naive": "naive"}, "anchors.ceiling"),
    ],
)
def test_wrong_anchors_are_refused(tmp_path: Path, anchors: dict[str, str], reason: str) -> None:
    edit_yaml(new("mine", WORDS, tmp_path), anchors=anchors)
    with pytest.raises(UsageError, match=reason):
        frozen(tmp_path)
    assert not (tmp_path / "runs").exists()


def test_references_are_run_and_are_of_the_division_of_what_they_do(made: Board) -> None:
    assert [(found.strategy, found.division) for found in made.references] == [
        ("ridge", "any"),
        ("slda", "any"),
    ]
    assert [found.words for found in made.references] == [("ridge.projection=64",), ()]
    assert load_board(made.folder).references == made.references
    best = max(made.ceiling, *made.references, key=lambda anchor: anchor.mean)
    assert made.ceiling_of("network") == made.ceiling
    assert made.ceiling_of("any") == made.ceiling_of("open") == best


@pytest.mark.parametrize(
    ("division", "mean", "sd", "refused"),
    [
        ("network", 0.93, 0.0, True),
        ("network", 0.93, 0.05, False),
        ("network", 0.919, 0.0, False),
        ("any", 0.99, 0.0, False),
    ],
)
def test_a_ceiling_that_is_beaten_beyond_the_spread_is_refused(
    made: Board, division: str, mean: float, sd: float, refused: bool
) -> None:
    ceiling = Anchor("joint", 0.9, 0.02)
    reference = Reference("er", mean, sd, division=division)
    board = dataclasses.replace(made, ceiling=ceiling, references=(reference,))
    if not refused:
        return _refuse_beaten(board)
    with pytest.raises(UsageError, match=r"er 0.9300 beats the ceiling of division network"):
        _refuse_beaten(board)
