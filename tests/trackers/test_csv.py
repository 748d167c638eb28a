"""metrics.csv: a whole row per evaluation, none twice, and no formula."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import points, write_npz
from trackers.telling import CELLS, evaluation, report, start

from clbench.configure.trackers import Chosen
from clbench.engine.execute import Options
from clbench.plugins.registry import find
from clbench.sweeps.local import run_all
from clbench.tracker import Tracker


def table() -> Tracker:
    cls = find("tracker", "csv").load()
    tracker: Tracker = cls(cls.Config())
    return tracker


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_evaluation(tmp_path: Path):
    tracker = table()
    tracker.start(start(tmp_path))
    assert rows(tmp_path) == []
    tracker.progress(report(evaluation(0, 1, 0, 2, 1)))
    tracker.progress(report(evaluation(0, 1, 0, 2, 1), experiences=1))
    tracker.progress(report(evaluation(2, 4, 1, 2, 1, loss=-0.5)))
    tracker.finish(None)
    first, second = rows(tmp_path)
    assert list(first) == ["experiences", "world_accuracy", *(c.name for c in CELLS), "loss"]
    assert list(first.values()) == ["0", "0.25", "0.25", "0.0", "0.5", "0.25", ""]
    assert list(second.values()) == ["2", "0.5", "1.0", "0.25", "0.5", "0.25", "-0.5"]


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(0, 8),
    kept=st.integers(0, 8),
    cut=st.integers(0, 40),
    names=st.lists(st.sampled_from("abc"), min_size=8, max_size=8),
)
def test_wherever_a_run_is_killed_the_file_is_that_of_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, n: int, kept: int, cut: int, names: list[str]
):
    """Also where the file's end was lost, or where it has no file at all."""
    folder, whole = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("whole")
    evaluations = [evaluation(at, **{name: at / 4}) for at, name in enumerate(names)]
    killed = table()
    killed.start(start(folder))
    for one in evaluations[:n]:
        killed.progress(report(one))
    path = folder / "metrics.csv"
    path.write_bytes(path.read_bytes()[: max(0, path.stat().st_size - cut)])
    past = evaluations[: min(kept, n)]
    again, never = table(), table()
    again.start(start(folder, *past))
    for one in evaluations[len(past) :]:
        again.progress(report(one))
    never.start(start(whole))
    for one in evaluations:
        never.progress(report(one))
    assert rows(folder) == rows(whole)
    assert [row["experiences"] for row in rows(folder)] == [str(at) for at in range(8)]


def test_every_moment_has_whole_rows_only(tmp_path: Path):
    tracker = table()
    tracker.start(start(tmp_path))
    for at in range(6):
        tracker.progress(report(evaluation(at, **{f"d{at}": 1.0})))
        text = (tmp_path / "metrics.csv").read_text()
        assert text.endswith("\n")
        assert len({line.count(",") for line in text.splitlines()}) == 1


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(tmp_path: Path, name: str):
    tracker = table()
    tracker.start(start(tmp_path))
    tracker.progress(report(evaluation(0, **{name: 1.0})))
    with (tmp_path / "metrics.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert header[-1][0] == "'"
    assert not any(cell[:1] in ("=", "+", "-", "@") for cell in header)


def run(npz: Path, out: Path, *words: str, **options: Any) -> Any:
    chosen = (Chosen(find("tracker", "csv")),)
    given = ("scenario=domain_incremental", "scenario.n_tasks=3", "strategy=ewc", *words)
    made = Options(out=out, quiet=True, curve=False, trackers=chosen, **options)
    [done] = run_all(points(*given, npz=npz), made)
    return done


def test_it_is_what_the_record_has(tmp_path: Path):
    npz = write_npz(tmp_path / "blobs.npz")
    done = run(npz, tmp_path)
    frame, found = done.record.frame(), rows(done.folder)
    assert set(found[0]) == set(frame.columns)
    for name in frame.columns:
        values = [float(row[name]) if row[name] else np.nan for row in found]
        np.testing.assert_array_equal(np.array(values), frame[name].to_numpy(dtype=float))


def test_an_extended_run_has_the_rows_of_a_whole_one(tmp_path: Path):
    npz = write_npz(tmp_path / "blobs.npz")

    words = ["eval_every=2"]
    run(npz, tmp_path / "parts", *words, "max_tasks=1")
    parts = run(npz, tmp_path / "parts", *words, "max_tasks=3")
    whole = run(npz, tmp_path / "whole", *words, "max_tasks=3")
    assert rows(parts.folder) == rows(whole.folder)


def test_starting_again_removes_what_was_written(tmp_path: Path):
    npz = write_npz(tmp_path / "blobs.npz")
    done = run(npz, tmp_path)
    [point] = points("scenario=domain_incremental", "scenario.n_tasks=3", "strategy=ewc", npz=npz)
    list(run_all([point], Options(out=tmp_path, quiet=True, curve=False, overwrite=True)))
    assert not (done.folder / "metrics.csv").exists()
