"""Sweeps on a small Slurm: arrays, requeueing and refusals, with a stand-in for the runs themselves."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import clbench, tiny
from small import write_npz

from clbench.sweeps.sbatch import ranges
from tests.sweeps import fake_slurm, stand_in_job

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="batch files are for bash")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts the commands on PATH, with a configuration."""

    def on_path(**config: object) -> None:
        for name, value in fake_slurm.install(tmp_path / "slurm", **config).items():
            monkeypatch.setenv(name, value)

    return on_path


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    npz = write_npz(tmp_path / "blobs.npz")
    return [*tiny(npz), "strategy=naive,ewc", "seed=0..3", "--out", str(tmp_path / "runs")]


def on(*settings: str) -> list[str]:
    python = f"{sys.executable} {stand_in_job.__file__}"
    return ["--on", "slurm:" + ",".join([f"python='{python}'", *settings])]


def home(tmp_path: Path) -> Path:
    [found] = (tmp_path / "runs" / ".sweeps").iterdir()
    return found


def counts(capsys: Capture, tmp_path: Path) -> dict[str, int]:
    [row] = json.loads(clbench(capsys, "status", tmp_path / "runs", "--json").out)
    return {state: row[state] for state in ("done", "running", "interrupted", "failed", "waiting")}


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.05)


def is_over(tmp_path: Path, number: int) -> bool:
    return (tmp_path / "slurm" / "state" / str(number) / "done").exists()


def starts(tmp_path: Path) -> list[list[str]]:
    found = sorted((tmp_path / "runs").rglob("starts"))
    return [path.read_text().split() for path in found]


def test_an_array_runs_every_line_once_and_its_table_comes_after(
    capsys: Capture, tmp_path: Path, slurm: Callable[..., None], words: list[str]
):
    slurm()
    code, out, err = clbench(capsys, "run", *words, *on("mem=1G"), "--per-job", "3", "--jobs", "2")
    assert (code, out) == (0, "")
    assert "8 runs: 0 done, 8 submitted in 3 jobs: array 1" in err
    until(lambda: is_over(tmp_path, 2))
    assert counts(capsys, tmp_path)["done"] == 8
    assert starts(tmp_path) == [["1"]] * 8
    assert (home(tmp_path) / "table.txt").read_text() == "the table\n"
    text = (home(tmp_path) / "array.sbatch").read_text()
    assert "#SBATCH --array=0-2%2\n" in text
    assert "#SBATCH --mem=1G\n" in text


def test_the_same_words_submit_only_what_is_left(
    capsys: Capture, tmp_path: Path, slurm: Callable[..., None], words: list[str]
):
    slurm()
    clbench(capsys, "run", *words, *on(), "--per-job", "2")
    until(lambda: is_over(tmp_path, 2))
    gone = sorted((tmp_path / "runs").rglob("record.json"))[2]
    shutil.rmtree(gone.parent)
    err = clbench(capsys, "run", *words, *on(), "--per-job", "2").err
    assert "8 runs: 7 done, 1 submitted in 1 jobs: array 3" in err
    until(lambda: is_over(tmp_path, 4))
    assert counts(capsys, tmp_path)["done"] == 8
    text = (home(tmp_path) / "array.sbatch").read_text()
    [lost] = [
        number
        for number, line in enumerate((home(tmp_path) / "plan.jsonl").read_text().splitlines())
        if json.loads(line)["folder"] == gone.parent.relative_to(tmp_path / "runs").as_posix()
    ]
    assert f"#SBATCH --array={lost // 2}\n" in text


def test_what_is_queued_is_not_submitted_again_and_two_drivers_share_a_plan(
    capsys: Capture, tmp_path: Path, slurm: Callable[..., None], words: list[str]
):
    slurm(at_once=1)
    script = clbench(capsys, "run", *words, *on(), "--script").out
    (home(tmp_path) / "slow").touch()
    assert script.splitlines()[0] == f"sbatch {home(tmp_path) / 'array.sbatch'}"
    clbench(capsys, "run", *words, *on())
    err = clbench(capsys, "run", *words, *on()).err
    assert "8 runs: 0 done, 8 queued or running; nothing to submit" in err
    subprocess.run(["scancel", "1"], check=True)
    until(lambda: is_over(tmp_path, 1))


def test_a_job_that_is_warned_goes_back_into_the_queue(
    capsys: Capture, tmp_path: Path, slurm: Callable[..., None], words: list[str]
):
    """The limit comes a second after the start, and the warning ahead of it."""
    slurm(at_once=2)
    words = [w for w in words if not w.startswith("seed=")] + ["seed=0"]
    clbench(capsys, "run", *words, *on(), "--script")
    (home(tmp_path) / "slow").touch()
    err = clbench(capsys, "run", *words, *on("time=0:06", "lead=5"), "--per-job", "1").err
    assert "2 submitted in 2 jobs" in err
    until(lambda: is_over(tmp_path, 1))
    assert counts(capsys, tmp_path)["done"] == 2
    assert starts(tmp_path) == [["1", "1"]] * 2
    states = (tmp_path / "slurm" / "state" / "1").glob("[0-9].json")
    assert [json.loads(path.read_text()) for path in states] == [
        {"state": "COMPLETED", "restarts": 1}
    ] * 2


def test_a_job_that_fails_is_not_put_back(
    capsys: Capture, tmp_path: Path, slurm: Callable[..., None], words: list[str]
):
    slurm()
    clbench(capsys, "run", *words, *on(), "--script")
    (home(tmp_path) / "fail").touch()
    clbench(capsys, "run", *words, *on(), "--per-job", "8")
    until(lambda: is_over(tmp_path, 1))
    state = json.loads((tmp_path / "slurm" / "state" / "1" / "0.json").read_text())
    assert state == {"state": "FAILED", "restarts": 0}


@pytest.mark.parametrize(
    ("config", "settings", "more", "said"),
    [
        ({"partitions": ["cpu"]}, ["partition=gpu"], [], "sbatch refuses: sbatch: error: invalid"),
        (
            {"max_array": 4},
            [],
            [],
            "an array of 8 jobs is more than this cluster takes (4); --per-",
        ),
        ({}, ["array=0-3"], [], "array is set by clbench"),
        ({}, ["lead=soon"], [], "lead must be whole seconds"),
        ({}, ["mem=1G", "mem=2G"], [], "'mem' is given twice"),
        ({}, [], ["--overwrite"], "--overwrite runs here only"),
        ({}, [], ["--per-job", "0"], "--per-job 0: must be at least 1"),
    ],
)
def test_refusals_are_one_line_and_nothing_is_submitted(
    capsys: Capture,
    tmp_path: Path,
    slurm: Callable[..., None],
    words: list[str],
    config: dict[str, object],
    settings: list[str],
    more: list[str],
    said: str,
):
    slurm(**config)
    code, _, err = clbench(capsys, "run", *words, *on(*settings), *more)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    assert not list((tmp_path / "slurm" / "state").glob("[0-9]*"))


def test_a_folder_in_memory_is_refused_where_there_are_other_nodes(
    capsys: Capture,
    tmp_path: Path,
    slurm: Callable[..., None],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
):
    slurm(nodes=["node1", "node2"])
    monkeypatch.setattr("clbench.sweeps.slurm._file_system", lambda path: "tmpfs")
    code, _, err = clbench(capsys, "run", *words, *on())
    assert (code, err.count("\n")) == (2, 1)
    assert "which no node sees" in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--on", "slurm"], "there is no sbatch here"),
        (["--on", "slrum"], "no engine 'slrum'; did you mean 'slurm'?"),
        (["--wait"], "--wait goes with --on ENGINE"),
        (["--on", "ray", "--script"], "--script goes with --on slurm"),
    ],
)
def test_options_without_an_engine(
    capsys: Capture,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    more: list[str],
    said: str,
):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = clbench(capsys, "run", *words, *more)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


def test_the_file_passes_what_it_is_given(capsys: Capture, tmp_path: Path, words: list[str]):
    """No Slurm is needed to write it; unknown options and flags go through."""
    settings = "slurm:gres=gpu:2,exclusive,'nodelist=a,b',cpus-per-task=4,whatever=1"
    code, out, _ = clbench(capsys, "run", *words, "--on", settings, "--script", "--per-job", "3")
    assert code == 0
    text = Path(shlex.split(out.splitlines()[0])[1]).read_text()
    rows = [row for row in text.splitlines() if row.startswith("#SBATCH")]
    for word in ("gres=gpu:2", "exclusive", "nodelist=a,b", "cpus-per-task=4", "whatever=1"):
        assert f"#SBATCH --{word}" in rows
    assert len({row.partition("=")[0] for row in rows}) == len(rows)
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_ranges():
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert ranges([3]) == "3"
