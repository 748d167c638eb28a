"""The same sweep here and on each engine gives equal tables; kills lose nothing and repeat nothing."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from commands import tiny
from small import write_npz

from tests.faults import forked
from tests.sweeps import fake_slurm

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(shutil.which("bash") is None, reason="batch files are for bash"),
]
ENGINES = {
    "ray": ["--on", "ray", "--jobs", "2", "--per-job", "6"],
    "distributed": ["--on", "dask", "--jobs", "2", "--per-job", "6"],
    "submitit": ["--on", "submitit:cluster=debug", "--per-job", "12"],
    "": ["--on", "slurm", "--per-job", "6", "--wait"],
}
"""By the package that it needs."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("slurm")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    slurm = fake_slurm.install(folder / "slurm", at_once=2)
    return {**os.environ, **slurm, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def bits(out: Path) -> dict[str, Any]:
    """What records say, less times, and the words: a job's are those of its line alone."""
    found = forked.bits(out)
    return {
        name: {k: v for k, v in record.items() if k not in ("overrides", "content_sha256")}
        for name, record in found.items()
    }


def results(table: bytes) -> list[list[str]]:
    """The cells of a printed table, less the seconds of training in its last column."""
    rows = [line.split("│")[1:-2] for line in table.decode().splitlines() if "│" in line]
    assert len(rows) == 3
    return rows


def words(data: Path, n_seeds: int, n_tasks: int) -> list[str]:
    given = [w for w in tiny(data) if not w.startswith("scenario.n_tasks")]
    runs = ["strategy=naive,ewc,er", f"seed=0..{n_seeds - 1}", f"scenario.n_tasks={n_tasks}"]
    return [*given, *runs, "tracker=none", "checkpoint_seconds=0.2"]


def start(env: dict[str, str], *more: str, log: Path) -> subprocess.Popen[bytes]:
    """A ``clbench run`` whose table goes to ``log.out`` and whose messages are added to ``log``."""
    with log.open("ab") as output, log.with_suffix(".out").open("wb") as table:
        return subprocess.Popen(
            [sys.executable, "-m", "clbench", "run", *more],
            env=env, stdin=subprocess.DEVNULL, stdout=table, stderr=output,
            cwd=log.parent, start_new_session=True,
        )  # fmt: skip


def table_of(env: dict[str, str], *more: str, log: Path) -> list[list[str]]:
    """What a ``clbench run`` that succeeds prints."""
    assert start(env, *more, log=log).wait(timeout=900) == 0, log.read_text()
    return results(log.with_suffix(".out").read_bytes())


@pytest.fixture(scope="module")
def here(
    data: Path, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[list[str]], dict[str, Any]]:
    """The table and the records of 24 runs in processes of this machine."""
    folder = tmp_path_factory.mktemp("here")
    given = [*words(data, 8, 5), "--jobs", "2", "-q", "--out", str(folder / "runs")]
    return table_of(env, *given, log=folder / "log"), bits(folder / "runs")


@pytest.mark.parametrize("package", ENGINES)
def test_an_engine_gives_the_table_of_a_local_sweep(
    package: str,
    data: Path,
    env: dict[str, str],
    here: tuple[list[list[str]], dict[str, Any]],
    tmp_path: Path,
):
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    given = [*words(data, 8, 5), *ENGINES[package], "--out", str(tmp_path / "runs")]
    assert table_of(env, *given, log=tmp_path / "log") == here[0]
    assert bits(tmp_path / "runs") == here[1]
    assert table_of(env, *given, log=tmp_path / "again") == here[0]
    assert "nothing to submit" in (tmp_path / "again").read_text()


def batch_shells(state: Path) -> Iterator[int]:
    """The processes of jobs that run now."""
    for path in state.glob("[0-9]*/[0-9]*.pid"):
        with suppress(ValueError, OSError):
            pid = int(path.read_text())
            if b"script" in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield pid


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_chaos_loses_nothing_and_changes_nothing(data: Path, env: dict[str, str], tmp_path: Path):
    """60 runs: nodes are lost, runs killed, and the driver is killed twice."""
    draw, log, out = random.Random(18), tmp_path / "log", tmp_path / "runs"
    given = words(data, 20, 20)
    alone = start(env, *given, "-q", "--out", str(tmp_path / "alone"), log=log)
    assert alone.wait(timeout=900) == 0, log.read_text()
    on = [*given, "--on", "slurm", "--per-job", "6", "--wait", "--out", str(out)]
    driver, killed, drivers = start(env, *on, log=log), 0, 0
    until = time.monotonic() + 1500
    while driver.poll() is None and time.monotonic() < until:
        time.sleep(draw.uniform(1.0, 4.0))
        shells = [*batch_shells(Path(env["FAKE_SLURM"]))]
        if shells and killed < 12:
            victim = draw.choice(shells)
            children = Path(f"/proc/{victim}/task/{victim}/children").read_text().split()
            with suppress(ProcessLookupError):
                if children and draw.random() < 0.5:
                    os.kill(int(children[0]), signal.SIGKILL)  # the run: out of memory
                else:
                    os.killpg(victim, signal.SIGKILL)  # the node
                killed += 1
        if drivers < 2 and killed >= 4 * (drivers + 1):
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            driver, drivers = start(env, *on, log=log), drivers + 1
    assert driver.wait(timeout=60) == 0, log.read_text()
    assert (drivers, killed) == (2, 12)
    found = bits(out)
    assert found == bits(tmp_path / "alone")
    assert len([*out.rglob("record.json")]) == 60
    assert not [*out.rglob(".owner*")]
