"""What boards will cost: the sum is that of the parts, and runs are timed on a part of the stream."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tiny import edit_yaml

from clbench.cli import main
from clbench.configure.board import Board, Tuning
from clbench.errors import UsageError
from clbench.leaderboard import budget
from clbench.leaderboard.entry import iter_entries
from clbench.leaderboard.freeze import new, read_draft, words_of

WORDS = ["scenario=scole", "scenario.n_tasks=20", "data=digits", "eval_every=log"]


def draft(root: Path) -> Path:
    path = new("mine", WORDS, root)
    anchors = {"floor": "chance", "naive": "naive", "ceiling": "joint"}
    words = ["joint.budget=evaluations", "joint.epochs=2"]
    training = {"memory_size": 50, "schedule": "cosine"}
    edit_yaml(path, tuning_tasks=5, training=training, anchors={**anchors, "words": words})
    return path.parent


def test_the_sum_over_entries_seeds_and_trials() -> None:
    cost = budget.Cost(
        "a",
        seconds=2.0,
        n_entries=25,
        n_seeds=10,
        n_trials=24,
        share=0.2,
        n_states=100,
        n_tuning_seeds=2,
    )
    assert cost.entered == 25 * 10 * 2
    again = 2 * budget.COUNTED + 100 * budget.REBUILT
    assert cost.verified == pytest.approx(25 * (10 + 1 + 3 * 2 * 0.2) * again)
    assert cost.tuned == pytest.approx(25 * 12 * 2 * 0.2 * 2)
    assert cost.total == pytest.approx(25 * (10 + 24 * 0.2) * 2 + cost.verified)
    lines = budget.table([cost, cost])
    assert len(lines) == 4
    assert lines[-1].startswith(f"{2 * cost.total / 3600:.1f} core-hours")


def test_short_runs_speak_for_long_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draft(tmp_path)
    asked = []

    def timed(words: list[str], n_tasks: int, pools: object) -> float:
        asked.append(n_tasks)
        return 1.5 + 0.25 * n_tasks

    monkeypatch.setattr(budget, "_timed", timed)
    [cost] = budget.budget([folder], 3, [], lambda line: None)
    assert asked == [2, 4]  # a tenth and a fifth of twenty tasks
    assert cost.seconds == pytest.approx(1.5 + 0.25 * 20)
    assert (cost.n_entries, cost.n_seeds, cost.n_trials, cost.share) == (3, 10, 24, 0.25)
    assert cost.n_states == 14  # none, ten of the first decade, 13, 16, 20


def test_every_sample_that_is_predicted_before_it_is_learnt_from_has_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draft(tmp_path)
    words = read_draft(folder / "draft.yaml").words
    edit_yaml(folder / "draft.yaml", words=[*words, "prequential=true"])
    monkeypatch.setattr(budget, "_timed", lambda *_: 1.0)
    [cost] = budget.budget([folder], 3, [], lambda line: None)
    assert cost.n_states == 14 + 20


def test_a_strategy_gets_what_it_has(tmp_path: Path) -> None:
    found = read_draft(draft(tmp_path) / "draft.yaml")
    assert words_of(found, "er")[len(found.words) :] == [
        "strategy=er",
        "er.epochs=1",
        "er.batch_size=32",
        "er.memory_size=50",
        "er.schedule=cosine",
    ]
    assert words_of(found, "joint")[len(found.words) :] == [  # its own word instead of the budget's
        "strategy=joint",
        "joint.batch_size=32",
        "joint.schedule=cosine",
        "joint.budget=evaluations",
        "joint.epochs=2",
    ]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = draft(tmp_path)
    assert main(["board", "budget", str(folder), "--entries", "2", "--time", "naive,er"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1].split()[0] == "mine"
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["naive", "er"]


def test_what_is_no_draft_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clbench board new"):
        budget.budget([tmp_path], 1, [], print)


def test_a_frozen_board_tells_what_its_entries_took(tiny_board: Board) -> None:
    [cost] = budget.budget([tiny_board.folder], 99, ["er"], print)
    runs = {e.slug: list(e.records.values()) for e in iter_entries(tiny_board)}
    parts = ("train_seconds", "predict_seconds", "harness_seconds")
    means = [
        sum(r.cost[part] or 0 for r in records for part in parts) / len(records)
        for records in runs.values()
    ]
    assert cost.n_entries == len(runs) > 0
    assert cost.seconds == pytest.approx(sum(means) / len(means))
    assert (cost.name, cost.n_seeds) == (tiny_board.name, len(tiny_board.seeds))
    [record, *_] = next(iter(runs.values()))
    assert cost.n_states == len(record.counts["evaluated_after"])
    tuned = dataclasses.replace(tiny_board, tuning=Tuning(6, 1), tuning_seeds=(100, 101))
    [one, *_] = runs.values()
    assert budget.spent(tuned).n_trials == 12
    assert budget.spent(tuned).share == pytest.approx(1 / one[0].stream["n_tasks"])


DRAFTS = sorted(Path(__file__).parents[2].glob("leaderboards/*/draft.yaml"))


@pytest.mark.parametrize("path", DRAFTS, ids=lambda path: path.parent.name)
def test_the_drafts_of_the_repository_can_be_frozen(path: Path) -> None:
    found = read_draft(path)
    assert len(found.seeds) >= 10
    assert words_of(found, found.anchors.naive, found.anchors.ceiling)
