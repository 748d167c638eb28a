"""Worker processes: results, deaths, signals, and a parent that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from worker_jobs import run

from clbench.engine.execute import Done, Options
from clbench.sweeps import local
from clbench.sweeps.workers import Died, Dropped, in_processes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")


def gone(pid: int, seconds: float = 30) -> bool:
    """Whether a process ends in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split()[2]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_all_jobs_are_done():
    found = list(in_processes(["double"] * 5, run, 2, 1))
    assert sorted(found) == [0, 2, 4, 6, 8]


def test_a_worker_that_dies_is_named_and_the_others_go_on():
    jobs = ["double", "killed", "double", "exits", "double"]
    found = list(in_processes(jobs, run, 2, 1))
    died = {d.number: d.reason for d in found if isinstance(d, Died)}
    assert sorted(f for f in found if not isinstance(f, Died)) == [0, 4, 8]
    assert died[1].startswith("was killed by SIGKILL")
    assert died[3] == "ended with exit code 3"


def test_jobs_that_a_signal_keeps_from_beginning_are_told():
    results = in_processes(["double"] * 9, run, 1, 1)
    first = next(results)
    os.kill(os.getpid(), signal.SIGTERM)
    rest = list(results)
    done = [first, *(f for f in rest if not isinstance(f, Dropped))]
    dropped = [f.number for f in rest if isinstance(f, Dropped)]
    assert done == [0, 2][: len(done)]
    assert sorted(dropped) == list(range(len(done), 9))


def test_a_caller_that_has_seen_enough_ends_them():
    results = in_processes(["pid", "waits", "waits"], run, 2, 1)
    first = next(results)
    assert isinstance(first, int)
    results.close()
    assert gone(first)


SCRIPT = """
    import sys
    sys.path[:0] = {path!r}
    from worker_jobs import run
    from clbench.sweeps.workers import in_processes
    if __name__ == "__main__":
        for result in in_processes(["tells", "tells", "double"], run, 2, 1):
            print("result", result, flush=True)
        print("end", flush=True)
"""


ONE_JOB = SCRIPT.replace('["tells", "tells", "double"]', '["double"]')


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_parent_reaches_the_workers(tmp_path: Path, number: signal.Signals):
    script = tmp_path / "main.py"
    script.write_text(textwrap.dedent(SCRIPT.format(path=[str(Path(__file__).parent), *sys.path])))
    told = [tmp_path / "0", tmp_path / "1"]
    parent = subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not all(path.exists() for path in told) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(0.2)
    pids = [int(path.read_text()) for path in told]
    parent.send_signal(number)
    out, _ = parent.communicate(timeout=60)
    assert all(map(gone, pids)), "no worker is left"
    if number != signal.SIGKILL:
        # Both jobs at hand came to their end, and the third was not begun.
        ends = ["", "end", "result Dropped(number=2)", "result stopped", "result stopped"]
        assert sorted(out.split("\n")) == ends
    assert all((tmp_path / f"{path.name}.stopped").exists() for path in told)


SAYS = """
import os, pathlib, time
from multiprocessing import current_process
if current_process().name != "MainProcess":
    part = pathlib.Path("importing.part")
    part.write_text(str(os.getpid()))
    part.rename("importing")
    time.sleep({seconds})
from worker_jobs import run
"""
"""A module that says in a worker that it is being imported, and takes its time."""


def started(folder: Path, script: str) -> tuple[subprocess.Popen[str], int]:
    """A script and its worker, which is importing a module."""
    paths = [str(folder), str(Path(__file__).parent), *sys.path]
    (folder / "main.py").write_text(textwrap.dedent(script.format(path=paths)))
    told = folder / "importing"
    command = [sys.executable, folder / "main.py"]
    parent = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.1)
    return parent, int(told.read_text())


def test_a_worker_that_still_imports_ends_with_its_parent(tmp_path: Path):
    (tmp_path / "torch.py").write_text(SAYS.format(seconds=600))
    parent, worker = started(tmp_path, SCRIPT)
    parent.kill()
    parent.communicate()
    assert gone(worker)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_a_worker_that_still_imports_waits(tmp_path: Path, number: signal.Signals):
    (tmp_path / "slow_jobs.py").write_text(SAYS.format(seconds=1))
    parent, worker = started(tmp_path, ONE_JOB.replace("worker_jobs", "slow_jobs"))
    os.kill(worker, number)
    out, _ = parent.communicate(timeout=60)
    assert out.split("\n") == ["result 0", "end", ""]


@pytest.mark.faults
def test_a_worker_that_shuts_down_takes_no_signal(tmp_path: Path):
    """Nothing is left to stop; a traceback of Python's own end would only frighten."""
    script = ONE_JOB.replace('["double"]', '["signals itself at its end"]')
    paths = [str(Path(__file__).parent), *sys.path]
    (tmp_path / "main.py").write_text(textwrap.dedent(script.format(path=paths)))
    command = [sys.executable, tmp_path / "main.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("result 0\nend\n", "")


@pytest.mark.parametrize("is_said", [False, True])
def test_a_sweep_that_stops_between_two_runs_does_not_end_as_if_it_were_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_said: bool
):
    """Where a record says that it was interrupted, that is the end; else the sweep has to."""
    status = SimpleNamespace(status="interrupted" if is_said else "completed")
    first: Any = Done(0, status, tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr(local, "in_processes", lambda *given: iter([first, Dropped(1)]))
    ends = local._in_processes({0: {}, 1: {}}, Options(out=tmp_path, jobs=2))
    assert next(ends) is first
    with pytest.raises(StopIteration if is_said else KeyboardInterrupt):
        next(ends)
