"""A sweep on an engine, with one that runs its jobs in this process, or loses them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import tiny
from small import write_npz

from clbench.cli import main, run_on
from clbench.configure.sweep import sweep
from clbench.engine.execute import Options
from clbench.errors import UsageError
from clbench.sweeps import submit
from clbench.sweeps.engine import Job, Needs, command, jobs_of
from clbench.sweeps.home import Home, homes
from clbench.sweeps.local import run_all
from clbench.sweeps.states import Asked, Look, State

FAILS = """
from clbench import GradientStrategy
class Fails(GradientStrategy):
    def begin(self, task):
        raise ValueError("no\\nmore")
"""


class Here:
    """An engine that runs its jobs here and now, once it has lost some submissions."""

    stays = True

    def __init__(self, loses: int = 0) -> None:
        self.loses, self.submitted = loses, list[list[Job]]()

    def open(self) -> None:
        pass

    def check(self, home: Home, n_jobs: int, needs: Needs) -> None:
        pass

    def queued(self, home: Home) -> set[int]:
        return set()

    def submit(self, home: Home, jobs: Sequence[Job], needs: Needs) -> str:
        self.submitted.append([*jobs])
        if len(self.submitted) > self.loses:
            for job in jobs:
                main(command(home, job.words, "alone", needs)[2:])
        return "here"

    def left(self, home: Home) -> int:
        return 0

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(submit, "LATE_SECONDS", 0.05)
    monkeypatch.setattr("clbench.results.plots.save_curve", lambda records, path: None)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    return [*tiny(write_npz(tmp_path / "blobs.npz")), "strategy=naive,ewc", "seed=0..2"]


def options(out: Path) -> Options:
    return Options(out=out, quiet=True, curve=False)


TRACKERS = ("tracker=none",)


def test_the_records_are_those_of_a_local_sweep(tmp_path: Path, words: list[str]):
    engine, here, there = Here(), tmp_path / "here", tmp_path / "there"
    ended = [*submit.run_on(engine, sweep(words), options(there), Needs(per_job=4), (), TRACKERS)]
    assert engine.submitted == [[Job(0, 3), Job(4, 5)]]
    assert [done.number for done in ended] == [*range(6)]
    alone = [*run_all(sweep(words), options(here))]
    found = [
        {d.folder.relative_to(out): d.record and d.record.predictions_sha256 for d in some}
        for out, some in ((there, ended), (here, alone))
    ]
    assert found[0] == found[1]
    assert None not in found[0].values()
    again = [*submit.run_on(engine, sweep(words), options(there), Needs(), (), TRACKERS)]
    assert [done.skipped for done in again] == [True] * 6
    assert len(engine.submitted) == 1


def test_what_an_engine_loses_is_handed_out_again(tmp_path: Path, words: list[str]):
    engine = Here(loses=submit.AGAIN)
    ended = [*submit.run_on(engine, sweep(words), options(tmp_path), Needs(), (), TRACKERS)]
    assert all(done.record is not None for done in ended)
    assert [len(jobs) for jobs in engine.submitted] == [6] * (submit.AGAIN + 1)


def test_what_it_loses_for_good_is_named(tmp_path: Path, words: list[str]):
    engine = Here(loses=99)
    ended = [*submit.run_on(engine, sweep(words), options(tmp_path), Needs(), (), TRACKERS)]
    assert {done.record for done in ended} == {None}
    assert all("is waiting, and its jobs have gone" in done.error for done in ended)
    assert len(engine.submitted) == submit.AGAIN + 1


def test_records_that_are_shown_late_are_waited_for(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
):
    """A shared folder shows nothing for a while after the last job has gone."""
    monkeypatch.setattr(submit, "LATE_SECONDS", 60.0)
    engine, looks, at = Here(), [0], Look.at

    def late(self: Look, run: Asked) -> State:
        looks[0] += 1
        return State("waiting") if looks[0] < 60 else at(self, run)

    monkeypatch.setattr(Look, "at", late)
    ended = [*submit.run_on(engine, sweep(words), options(tmp_path), Needs(), (), TRACKERS)]
    assert all(done.record is not None for done in ended)
    assert len(engine.submitted) == 1


def test_a_run_that_fails_is_a_record_and_is_tried_again(tmp_path: Path, words: list[str]):
    (tmp_path / "fails.py").write_text(FAILS)
    rest = [w for w in words if not w.startswith(("strategy=", "seed="))]
    points = sweep([*rest, f"strategy={tmp_path / 'fails.py'}", "seed=0"])
    engine, out = Here(), tmp_path / "runs"
    for n in (1, 2):
        [done] = submit.run_on(engine, points, options(out), Needs(), (), TRACKERS)
        assert done.record is not None
        assert done.record.status == "error"
        assert len(engine.submitted) == n


def test_a_job_that_cannot_start_says_why(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from clbench import GradientStrategy\nclass Mine(GradientStrategy):\n    pass\n"
    )
    rest = [w for w in words if not w.startswith(("strategy=", "seed="))]
    points = sweep([*rest, f"strategy={mine}", "seed=0"])

    class Breaks(Here):
        def submit(self, home: Home, jobs: Sequence[Job], needs: Needs) -> str:
            mine.write_text("import nothing_of_this_name\n")
            return super().submit(home, jobs, needs)

    [done] = submit.run_on(Breaks(), points, options(tmp_path / "runs"), Needs(), (), TRACKERS)
    assert done.record is None
    assert "nothing_of_this_name" in done.error
    [home] = homes(tmp_path / "runs")
    assert "nothing_of_this_name" in home.failures()[0]


def test_a_gpu_that_is_not_here_is_planned_without(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = [w for w in words if not w.startswith("device")]
    needs = Needs(per_job=4, per_gpu=2)
    found = submit.planned(sweep([*words, "device=cuda", "threads=3"]), options(tmp_path), needs)
    assert (found.needs.gpus, found.needs.cpus) == (1.0, 6)
    assert all("device=cuda" in line.words for line in found.lines)
    assert command(found.home, "0..3", "alone", found.needs)[-2:] == ["--jobs", "2"]
    one = submit.planned(sweep([*words, "device=cuda"]), options(tmp_path), Needs(per_gpu=4))
    assert (one.needs.gpus, one.needs.cpus) == (0.25, 1)
    cpu = submit.planned(sweep(words), options(tmp_path), needs)
    assert (cpu.needs.gpus, cpu.needs.cpus) == (0, 1)
    with pytest.raises(UsageError, match="submit from a machine that has one"):
        submit.planned(sweep([*words, "device=cuda", "encoder=identity"]), options(tmp_path), needs)


def test_the_ends_come_in_the_order_of_the_points(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("clbench.sweeps.engine.chosen", lambda text: Here())
    given = argparse.Namespace(on="here", per_job=2, per_gpu=None, jobs=None)
    ended = [*run_on.runner_of(given)(sweep(words), options(tmp_path))]
    settings = [(d.record.config["strategy"]["name"], d.record.seed) for d in ended if d.record]
    assert settings == [(s, k) for s in ("naive", "ewc") for k in range(3)]


def test_jobs_have_the_same_lines_whatever_is_left():
    assert jobs_of(range(7), 7, 3) == [Job(0, 2), Job(3, 5), Job(6, 6)]
    assert jobs_of([4, 6], 7, 3) == [Job(3, 5), Job(6, 6)]


def test_a_plan_is_written_once_by_its_hash(tmp_path: Path, words: list[str]):
    first = submit.planned(sweep(words), options(tmp_path), Needs())
    again = submit.planned(sweep(words), options(tmp_path), Needs())
    other = submit.planned(sweep([*words, "strategy.lr=0.3"]), options(tmp_path), Needs())
    assert first.home == again.home != other.home
    rows = [json.loads(row) for row in first.home.plan.read_text().splitlines()]
    assert [row["folder"] for row in rows] == [line.folder for line in first.lines]
