"""What is said of runs is what their folders hold; ``clbench status`` shows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import clbench, tiny
from small import write_npz

from clbench.engine import execute, lock
from clbench.errors import UsageError
from clbench.sweeps import states
from clbench.sweeps.home import Home
from clbench.sweeps.lines import Line, indices
from clbench.sweeps.states import Asked, Look, State, tally
from clbench.sweeps.summary import duration, summary

Capture = pytest.CaptureFixture[str]


def a_run(
    out: Path, name: str, status: str = "", error: str = "null", owner: str = "", more: str = ""
) -> Asked:
    folder = out / "scole" / "naive-0" / name
    folder.mkdir(parents=True)
    if status:
        text = f'{{"schema":1,"status":"{status}","error":{error}{more}}}'
        (folder / "record.json").write_text(text)
    if owner:
        (folder / ".owner").write_text(json.dumps({"host": owner, "pid": 1}))
    return Asked(f"scole/naive-0/{name}")


def test_each_state_is_told_from_the_folder(tmp_path: Path):
    error = json.dumps({"type": "ValueError", "message": "first\nsecond"})
    cost = {"train_seconds": 6.0, "predict_seconds": 3.0, "harness_seconds": 1.0}
    runs = [
        a_run(tmp_path, "seed0", "completed", more=',"cost":' + json.dumps(cost)),
        a_run(tmp_path, "seed1", "diverged", '{"type":"Diverged","message":"x"}'),
        a_run(tmp_path, "seed2", owner="node7"),
        a_run(tmp_path, "seed3", "interrupted"),
        a_run(tmp_path, "seed4", "error", error),
        a_run(tmp_path, "seed5"),
        Asked("scole/naive-0/seed6"),
        Asked("scole/none/seed0"),
        a_run(tmp_path, "seed7", "interrupted", owner="node8"),
    ]
    look = Look(tmp_path)
    look.begin()
    assert [look.at(run) for run in runs] == [
        State("done"),
        State("done", "diverged"),
        State("running", host="node7"),
        State("interrupted"),
        State("failed", "ValueError: first"),
        State("waiting"),
        State("waiting"),
        State("waiting"),
        State("running", host="node8"),
    ]
    found = tally(look, runs, {6: "no memory", 0: "an old note"})
    assert found.counts == {"done": 2, "running": 2, "interrupted": 1, "failed": 2, "waiting": 2}
    assert found.hosts == {"node7": 1, "node8": 1}
    # A finished run took 10 s; 5 are left, of which two run at a time.
    assert found.seconds_left == 10 * 5 / 2
    assert summary(found) == (
        "9 runs: 2 done (1 diverged), 2 running (node7: 1, node8: 1), 1 interrupted, 2 failed, "
        "2 waiting, about 25 s left"
    )


def test_the_names_are_those_of_the_engine():
    assert states.OWNER == lock.OWNER
    assert states.FINISHED == execute.FINISHED
    assert states.SILENT_SECONDS == lock.STALE_SECONDS


def test_a_silent_heart_is_of_an_interrupted_run_unless_it_is_seen_to_beat(tmp_path: Path):
    run = a_run(tmp_path, "seed0", owner="far")
    owner = tmp_path / run.folder / ".owner"
    look = Look(tmp_path)
    for hours, name in ((0, "running"), (-1, "running"), (1, "running")):
        at = time.time() + hours * 3600
        os.utime(owner, (at, at))
        look.begin()
        assert look.at(run).name == name  # at the second look it has moved
    os.utime(owner, (1, 1))
    alone = Look(tmp_path)
    alone.begin()
    assert alone.at(run).name == "interrupted"


def test_a_run_that_is_to_be_longer_is_not_done(tmp_path: Path):
    more = ',"tasks":{"end":[1,2,3]},"stream":{"n_tasks":5}'
    short = a_run(tmp_path, "seed0", "completed", more=more)
    look = Look(tmp_path)
    look.begin()
    names = [look.at(short._replace(max_tasks=n)).name for n in (None, 3, 4, 9)]
    assert names == ["done", "done", "interrupted", "interrupted"]


def test_a_look_leaves_nothing_behind_and_needs_no_writing(tmp_path: Path):
    run = a_run(tmp_path, "seed0", "completed")
    look = Look(tmp_path)
    look.begin()
    assert look.at(run).name == "done"
    assert [path.name for path in tmp_path.iterdir()] == ["scole"]


def test_status_loads_no_torch(tmp_path: Path):
    a_run(tmp_path, "seed0", "completed")
    code = (
        "import sys; from clbench.cli import main; "
        f"assert main(['status', {str(tmp_path)!r}]) == 0; "
        "print([m for m in ('torch', 'numpy', 'pandas', 'omegaconf') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1 runs: 1 done", "[]"]


def test_the_command_shows_sweeps_failures_and_what_belongs_to_none(
    capsys: Capture, tmp_path: Path
):
    run = a_run(tmp_path, "seed0", "completed")
    a_run(tmp_path, "seed1", "interrupted")
    home = Home.of(tmp_path, [Line(("a=1",), run.folder), Line(("a=2",), "scole/naive-1/seed0")])
    home.note_failure(1, "ended with\nexit code 2")
    code, out, _ = clbench(capsys, "status", tmp_path)
    assert code == 1
    assert out.splitlines() == [
        f"{home.id}: 2 runs: 1 done, 1 failed",
        "  failed: scole/naive-1/seed0: ended with exit code 2",
        "other: 1 runs: 0 done, 1 interrupted",
    ]
    home.note_failure(1, None)
    code, out, _ = clbench(capsys, "status", home.plan)
    assert (code, out) == (0, "2 runs: 1 done, 1 waiting\n")
    code, _, err = clbench(capsys, "status", tmp_path / "nothing")
    assert (code, err.count("\n")) == (2, 1)


def test_the_command_prints_the_table_of_a_plan(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("clbench.results.plots.save_curve", lambda records, path: None)
    words = [*tiny(write_npz(tmp_path / "b.npz")), "strategy=naive", "seed=0,1", "tracker=none"]
    plan, out = tmp_path / "plan.jsonl", tmp_path / "runs"
    clbench(capsys, "run", *words, "--plan", plan)
    table = clbench(capsys, "run", "--plan", plan, "--out", out, "-q").out
    shown = clbench(capsys, "status", plan, "--out", out, "--table").out
    assert shown == f"2 runs: 2 done\n{table}"
    again = clbench(capsys, "run", *words, "--out", out, "--plan", tmp_path / "p2.jsonl")
    assert again.code == 0


@pytest.mark.parametrize(
    ("text", "found"), [("3", [3]), ("2..4", [2, 3, 4]), ("0,4..5,4", [0, 4, 5])]
)
def test_indices(text: str, found: list[int]):
    assert indices(text, 6) == found


@pytest.mark.parametrize("text", ["6", "-1", "3..6", "4..2", "x", "1..", "1,,2", "9" * 5000])
def test_what_is_no_index_is_refused(text: str):
    with pytest.raises(UsageError, match="--index"):
        indices(text, 6)


def test_durations():
    assert [duration(s) for s in (5, 99.6, 600, 7200, 400_000)] == [
        "5 s",
        "100 s",
        "10 min",
        "2.0 h",
        "4.6 days",
    ]
