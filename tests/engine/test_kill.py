"""Killed at any moment and resumed, a run ends with the bits of one that was not killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from small import points, write_npz

from clbench.results.record import Record

ROOT = Path(__file__).parents[2]
WORKER = """
import sys
from dataclasses import asdict
from pathlib import Path
from clbench.engine.execute import Options
from clbench.sweeps.local import run_all
from small import points
out, npz, *words = sys.argv[1:]
options = Options(out=Path(out), quiet=True, resume=True, curve=False)
print("ready", flush=True)
for done in run_all(points(*words, npz=Path(npz)), options):
    print(done.folder, flush=True)
"""


def start(out: Path, npz: Path, words: tuple[str, ...]) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(out), str(npz), *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen[str]) -> Path:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return Path(out.strip())


def bits(folder: Path) -> dict[str, Any]:
    record = asdict(Record.load(folder / "record.json"))
    cost = {
        k: v
        for k, v in record["cost"].items()
        if not k.endswith("_seconds") and k != "peak_rss_bytes"
    }
    return {**{k: v for k, v in record.items() if k not in ("started", "finished")}, "cost": cost}


def killed(tmp_path: Path, kills: int, n_tasks: int, number: int, *more: str) -> None:
    npz = write_npz(tmp_path / "blobs.npz", n_train=60)
    words = (
        "scenario=scole",
        "strategy=ewc",
        f"scenario.n_tasks={n_tasks}",
        "eval_every=5",
        "strategy.momentum=0.5",
        "strategy.fisher=sampled",
        "checkpoint_seconds=0.05",
        *more,
    )
    whole = start(tmp_path / "whole", npz, words)
    started = time.monotonic()
    wanted = finish(whole)
    seconds = time.monotonic() - started
    rng = random.Random(3)
    landed = 0
    for _ in range(kills):
        process = start(tmp_path / "killed", npz, words)
        # All together less than one run takes, so that the last ones find something to kill.
        time.sleep(rng.uniform(0, 1.5 * seconds / kills))
        landed += process.poll() is None
        process.send_signal(number)
        process.communicate()
    assert landed >= kills / 2
    found = finish(start(tmp_path / "killed", npz, words))
    assert found.relative_to(tmp_path / "killed") == wanted.relative_to(tmp_path / "whole")
    assert bits(found) == bits(wanted)
    assert not [p for p in found.iterdir() if p.name.startswith(".record")]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_runs_resume_to_the_same_bits(tmp_path: Path):
    killed(tmp_path, kills=3, n_tasks=150, number=signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_runs_keep_their_debt(tmp_path: Path):
    more = ("realtime=0.3", "label_delay=2", "prequential_ahead=3", "strategy.epochs=2")
    killed(tmp_path, 3, 100, signal.SIGKILL, *more)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_ten_kills(tmp_path: Path):
    killed(tmp_path, kills=10, n_tasks=3000, number=signal.SIGKILL)


def test_a_second_process_says_that_the_folder_is_in_use(tmp_path: Path):
    npz = write_npz(tmp_path / "blobs.npz", n_train=60)
    words = ("scenario=scole", "strategy=naive", "scenario.n_tasks=100000", "checkpoint_seconds=0")
    first = start(tmp_path, npz, words)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("scole/*/seed0/checkpoint")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        from clbench.engine.execute import Options
        from clbench.sweeps.local import run_all

        options = Options(out=tmp_path, quiet=True, resume=True, curve=False)
        [second] = run_all(points(*words, npz=npz), options)
        assert "another process" in second.error
        first.send_signal(signal.SIGTERM)
        folder = finish(first)
        assert Record.load(folder / "record.json").status == "interrupted"
    finally:
        first.kill()
        first.communicate()
