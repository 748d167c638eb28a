"""One run counts once, wherever its copies are and however they came there."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from pathlib import Path

import pytest
from commands import clbench
from small import short_record

from clbench.leaderboard.pairs import find_side, pair
from clbench.results import panels
from clbench.results.arms import by_arm
from clbench.results.plots import plot_curves
from clbench.results.record import Record
from clbench.results.repeats import repeats, without_repeats
from clbench.results.tables import load_all, summarise

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def records() -> tuple[Record, ...]:
    return tuple(short_record("naive", seed) for seed in (0, 1, 2))


def old(record: Record) -> Record:
    """The record as a clbench without run identities wrote it."""
    return dataclasses.replace(record, run_sha256=None, results_versions=None)


def interval(found: list[Record]) -> object:
    [row] = summarise(found)
    return row.seeds, row.values["world_accuracy"]


@pytest.mark.parametrize("as_written", [lambda r: r, old], ids=["new", "old"])
def test_a_copy_changes_no_interval(records: tuple[Record, ...], as_written):
    """Whatever is copied, and wherever the copies stand among the others."""
    runs = [as_written(record) for record in records]
    for copied in itertools.product((0, 1, 2), repeat=3):
        many = [run for run, n in zip(runs, copied, strict=True) for _ in range(1 + n)]
        for order in (many, many[::-1]):
            assert interval(order) == interval(runs)
            assert len(without_repeats(order)) == 3
            assert sum(len(r.others) for r in repeats(order)) == sum(copied)


def test_an_unfinished_copy_is_no_failure(records: tuple[Record, ...]):
    stopped = dataclasses.replace(records[0], status="interrupted")
    for order in ([stopped, records[0]], [records[0], stopped]):
        [row] = summarise(order)
        assert (row.seeds, row.failed) == ((0,), ())
    [row] = summarise([stopped])
    assert row.failed == ("seed 0: interrupted",)


def test_other_seeds_and_other_arms_are_other_runs(records: tuple[Record, ...]):
    longer = short_record("naive", 0, "strategy.lr=0.01")
    assert len(without_repeats([*records, longer])) == 4
    assert [len(arm.records) for arm in by_arm([*records, longer])] == [3, 1]


def test_copied_folders_are_named(records: tuple[Record, ...], tmp_path: Path, capsys: Capture):
    for record in records[:2]:
        folder = tmp_path / "runs" / "naive" / f"seed{record.seed}"
        folder.mkdir(parents=True)
        record.save(folder / "record.json")
    alone = clbench(capsys, "results", tmp_path, "--format", "csv")
    shutil.copytree(tmp_path / "runs", tmp_path / "backup" / "deep")
    code, out, err = clbench(capsys, "results", tmp_path, "--format", "csv")
    assert (code, out) == (0, alone.out)
    assert err.count("\n") == 2
    for seed in (0, 1):
        assert f"{tmp_path / 'runs' / 'naive' / f'seed{seed}'} holds the same run as" in err
    found = load_all(tmp_path, pytest.fail)
    assert len(found) == 2
    lines = plot_curves([*found, *found]).get_lines()
    assert len(lines) == 2
    panels.save([*found, *found], tmp_path / "curves.svg")
    assert [len(row.seeds) for row in summarise([*found, *found])] == [2]


def test_answers_that_differ_are_said(records: tuple[Record, ...], tmp_path: Path):
    other = dataclasses.replace(records[0], predictions_sha256="f" * 64)
    for name, record in (("a", records[0]), ("b", other)):
        (tmp_path / name).mkdir()
        record.save(tmp_path / name / "record.json")
    said: list[str] = []
    assert len(load_all(tmp_path, pytest.fail, said.append)) == 1
    assert said == [
        f"{tmp_path / 'b'} holds the same run as {tmp_path / 'a'}, which counts once; "
        "their answers differ"
    ]


def test_compare_takes_each_run_once(records: tuple[Record, ...], tmp_path: Path, capsys: Capture):
    for name, record in (("seed0", 0), ("seed0-copy", 0), ("seed1", 1)):
        (tmp_path / "a" / name).mkdir(parents=True)
        records[record].save(tmp_path / "a" / name / "record.json")
    side = find_side(str(tmp_path / "a"), None)
    assert sorted(side.records) == [0, 1]
    assert side.repeated == ("seed0-copy holds the same run as seed0, which counts once",)
    found = pair(side, side, "world_accuracy", failed_is_zero=False)
    assert (len(found.pairs), found.alike) == (2, (0, 1))
    code, _, err = clbench(capsys, "compare", tmp_path / "a", tmp_path / "a")
    assert code == 0
    assert "both sides have the same answers on seeds 0 1" in err
