"""``clbench compare`` and ``clbench leaderboard`` as typed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import synthetic
from synthetic import record, write_board, write_entry

from clbench.cli import main
from clbench.configure.board import Board
from clbench.errors import UsageError
from clbench.leaderboard.entry import Meta
from clbench.leaderboard.pairs import Side, find_side, pair
from clbench.leaderboard.ranking import compare

PRIMARY = "anytime_world_accuracy"


@pytest.fixture
def board(tmp_path: Path) -> Board:
    made = write_board(synthetic.board(tmp_path / "scole-digits"))
    for slug, accuracy in (("ewc", 0.9), ("naive", 0.85)):
        records = [record(seed, accuracy) for seed in synthetic.SEEDS]
        write_entry(made, slug, Meta(slug.upper(), slug), records)
    return made


def side(name: str, *records: object) -> Side:
    return Side(name, {r.seed: r for r in records})


def test_entries_and_run_folders_compare_alike(board: Board, tmp_path: Path, capsys) -> None:
    for slug, accuracy in (("ewc", 0.9), ("naive", 0.85)):
        for seed in synthetic.SEEDS:
            folder = tmp_path / "runs" / slug / f"seed{seed}"
            folder.mkdir(parents=True)
            record(seed, accuracy).save(folder / "record.json")
    told = []
    for words in (
        ["ewc", "naive", "--board", board.name],
        [str(board.entries / "ewc"), str(board.entries / "naive")],
        [str(tmp_path / "runs" / "ewc"), str(tmp_path / "runs" / "naive")],
    ):
        assert main(["compare", *words, "--boards", str(tmp_path), "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert {(t["a"], t["b"]) for t in told} == {("EWC", "NAIVE"), ("ewc", "naive")}
    scores = [
        [record(s, accuracy).metrics[PRIMARY]["value"] for s in synthetic.SEEDS]
        for accuracy in (0.9, 0.85)
    ]
    expected = compare(*scores)
    for one in told:
        assert one["difference"] == expected.difference.mean
        assert one["half_width"] == expected.difference.half_width
        assert one["p_value"] == expected.p_value
        assert [s["seed"] for s in one["seeds"]] == list(synthetic.SEEDS)


def test_the_table_has_a_line_per_seed(board: Board, tmp_path: Path, capsys) -> None:
    assert main(["compare", "ewc", "naive", "--board", board.name, "--boards", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told.count("│") == 5 * len(synthetic.SEEDS)
    assert "paired t-test over 5 seeds" in told


def test_other_streams_are_refused() -> None:
    a, b = record(0), dataclasses.replace(record(0), stream_sha256="f" * 64)
    with pytest.raises(UsageError, match="seed 0: the two runs have different streams"):
        pair(side("a", a), side("b", b), PRIMARY, failed_is_zero=True)


def test_without_common_seeds_it_is_refused() -> None:
    with pytest.raises(UsageError, match="no common seeds: a has 0, b has 1"):
        pair(side("a", record(0)), side("b", record(1)), PRIMARY, failed_is_zero=True)


def test_a_failed_run_counts_zero_or_is_left_out() -> None:
    failed = dataclasses.replace(record(1), status="diverged", stream_sha256="f" * 64)
    a, b = side("a", record(0), failed), side("b", record(0), record(1), record(2))
    found = pair(a, b, PRIMARY, failed_is_zero=True)
    assert [p.seed for p in found.pairs] == [0, 1]
    assert found.pairs[1].a == 0
    assert found.left_out == ["seed 2: only b has it"]
    found = pair(a, b, "forgetting", failed_is_zero=False)
    assert [p.seed for p in found.pairs] == [0]
    assert "seed 1" in found.left_out[0]
    assert found.result.p_value == 1


@pytest.mark.parametrize(("word", "hint"), [("ewcc", "did you mean 'ewc'"), ("../x", "neither")])
def test_what_is_not_there_is_a_usage_error(board: Board, word: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        find_side(word, board)


def test_unknown_metrics_have_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean 'forgetting'"):
        pair(side("a", record(0)), side("b", record(0)), "forgeting", failed_is_zero=False)


def test_leaderboard_writes_then_checks(board: Board, tmp_path: Path, capsys) -> None:
    words = ["leaderboard", "--boards", str(tmp_path)]
    assert main([*words, "--check"]) == 1
    assert capsys.readouterr().out.count("out of date") == 6
    assert not (board.folder / "README.md").exists()
    assert main(words) == 0
    assert main([*words, "--check"]) == 0
    (board.folder / "index.html").write_text("")
    capsys.readouterr()
    assert main([*words, "--check"]) == 1
    assert capsys.readouterr().out.startswith(f"{board.folder / 'index.html'}: out of date")
    assert main(["leaderboard", board.name, "--boards", str(tmp_path)]) == 0
    assert main([*words, "--check"]) == 0


def test_leaderboard_of_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    assert main(["leaderboard", "--boards", str(tmp_path / "none")]) == 2


def test_without_a_board_a_run_that_failed_is_left_out(tmp_path: Path, capsys) -> None:
    """Whether or not the metric is the one that is compared by default."""
    for name, status in (("a", "completed"), ("b", "interrupted")):
        for seed in (0, 1, 2):
            folder = tmp_path / name / f"seed{seed}"
            folder.mkdir(parents=True)
            one = record(seed, 0.9)
            if seed == 2:
                one = dataclasses.replace(one, status=status)
            one.save(folder / "record.json")
    for more in ([], ["--metric", "world_accuracy"]):
        words = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), *more, "--json"]
        assert main(words) == 0
        told = json.loads(capsys.readouterr().out)
        assert [s["seed"] for s in told["seeds"]] == [0, 1]
        assert "seed 2" in told["left_out"][0]
