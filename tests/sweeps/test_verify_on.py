"""``clbench verify --on``: a command an entry, whose ledgers appear in the shared folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import clbench

from clbench.cli import main
from clbench.configure.board import Board
from clbench.leaderboard.entry import ledger_file
from clbench.leaderboard.reproduce import on
from clbench.sweeps import submit as waiting
from clbench.sweeps.engine import Job, Needs, command
from clbench.sweeps.home import VERIFY, Home
from tests.sweeps import fake_slurm

sys.path.append(str(Path(__file__).parents[1] / "leaderboard"))
from attacking import make

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
OPTIONS = ("--seeds", "0", "--perturbed", "0")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return make(tmp_path_factory.mktemp("verified-on"))


@pytest.fixture
def board(original: Board, tmp_path: Path) -> Path:
    """A board with two entries, of which the second claims too much."""
    shutil.copytree(original.folder.parent, tmp_path / "boards")
    folder = tmp_path / "boards" / original.name
    shutil.copytree(folder / "entries" / "honest", folder / "entries" / "wrong")
    about = folder / "entries" / "wrong" / "entry.yaml"
    renamed, n = re.subn(r"(?m)^name: .*$", "name: wrong", about.read_text())
    assert n == 1
    about.write_text(renamed)
    for path in (folder / "entries" / "wrong" / "runs").iterdir():
        path.write_text(path.read_text().replace('"seed": 0', '"seed": 9'))
    return folder


class Here:
    """An engine that runs its jobs here and now, or loses them."""

    stays = True

    def __init__(self, loses: bool = False) -> None:
        self.loses, self.submitted = loses, list[list[Job]]()

    def open(self) -> None:
        pass

    def check(self, home: Home, n_jobs: int, needs: Needs) -> None:
        pass

    def queued(self, home: Home) -> set[int]:
        return set()

    def submit(self, home: Home, jobs: Sequence[Job], needs: Needs) -> str:
        self.submitted.append([*jobs])
        for job in jobs if not self.loses else ():
            main(command(home, job.words, "alone", needs)[2:])
        return "here"

    def left(self, home: Home) -> int:
        return 0

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "LATE_SECONDS", 0.2)


@pytest.mark.slow
def test_each_entry_is_a_job_whose_ledger_is_here(
    board: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Here()
    monkeypatch.setattr("clbench.sweeps.engine.chosen", lambda text: engine)
    words = ("verify", board, "--on", "here", *OPTIONS, "--out", tmp_path / "runs")
    code, out, err = clbench(capsys, *words)
    assert engine.submitted == [[Job(0, 0), Job(1, 1)]]
    assert code == 1
    assert "ok   honest seed 0: bit for bit the same answers" in out
    assert "FAIL wrong " in out
    assert "2 entries: 0 verified before, 2 submitted in 2 jobs: here" in err
    assert ledger_file(board / "entries" / "honest").is_file()
    assert not ledger_file(board / "entries" / "wrong").exists()
    # The same words run what was refused again, and nothing else.
    again = clbench(capsys, *words)
    assert engine.submitted[1:] == [[Job(1, 1)]]
    assert "ok   honest seed 0" in again.out
    [home] = (tmp_path / "runs" / ".sweeps").iterdir()
    lines = [json.loads(row) for row in (home / VERIFY).read_text().splitlines()]
    assert [Path(line["folder"]).name for line in lines] == ["honest", "wrong"]
    # An entry that has changed is another plan.
    path = board / "entries" / "honest" / "entry.yaml"
    path.write_text(f"{path.read_text()}# more\n")
    clbench(capsys, *words)
    assert engine.submitted[2:] == [[Job(0, 0), Job(1, 1)]]


def test_jobs_that_are_lost_are_named(
    board: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clbench.sweeps.engine.chosen", lambda text: Here(loses=True))
    entry = board / "entries" / "honest"
    code, _, err = clbench(capsys, "verify", entry, "--on", "here", "--out", tmp_path / "runs")
    assert code == 2
    assert "the jobs have gone, and nothing is known of honest" in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--on", "slurm", "--prefix", "2"], "--prefix runs here only"),
        (["--on", "slrum"], "did you mean 'slurm'?"),
        (["--on", "slurm", "--seeds", "x"], "write 0,3 or 0..4"),
    ],
)
def test_refusals_are_one_line(board: Path, capsys: Capture, more: list[str], said: str) -> None:
    code, _, err = clbench(capsys, "verify", board, *more)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


@pytest.mark.engines
@pytest.mark.skipif(shutil.which("bash") is None, reason="batch files are for bash")
@pytest.mark.parametrize("engine", ["slurm", "submitit:cluster=debug"])
def test_real_jobs(board: Path, tmp_path: Path, engine: str) -> None:
    if engine.startswith("submitit"):
        pytest.importorskip("submitit")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    slurm = fake_slurm.install(tmp_path / "slurm", at_once=2)
    words = ["verify", board, "--on", engine, "--wait", *OPTIONS, "--out", tmp_path / "runs"]
    done = subprocess.run(
        [sys.executable, "-m", "clbench", *map(str, words)],
        env={**os.environ, **slurm, "PYTHONPATH": paths}, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "ok   honest seed 0: bit for bit the same answers" in done.stdout
    assert "FAIL wrong " in done.stdout
    assert ledger_file(board / "entries" / "honest").is_file()


def test_a_claim_is_no_option(board: Path, tmp_path: Path) -> None:
    entries = [board / "entries" / "honest"]
    _, lines = on.planned(board, entries, ["--seeds", "0"], tmp_path)
    assert on.options_of(lines[0]) == ["--seeds", "0"]
