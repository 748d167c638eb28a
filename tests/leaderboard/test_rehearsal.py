"""What a process does before it is forked from: once, alone, and without a trace in what forks draw."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import optimizer

from clbench.leaderboard.reproduce import rehearsal
from clbench.leaderboard.reproduce.processes import Zygote, can_fork
from clbench.nets import flops

LARGE = """
import json, re
from pathlib import Path
from clbench.leaderboard.reproduce import rehearsal

def large():
    found = re.findall(r"AnonHugePages: +([0-9]+)", Path("/proc/self/smaps").read_text())
    return sum(map(int, found))

held = bytearray(b"x") * (64 << 20)
before = large()
rehearsal.collapse()
print(json.dumps([before, large(), held.count(b"x") == len(held)]))
"""

THREADS = """
import json, os, sys
from pathlib import Path
import torch
from clbench.leaderboard.reproduce import rehearsal

torch.set_num_threads(4)
before = len(os.listdir("/proc/self/task"))
rehearsal.rehearse(Path(sys.argv[1]))
print(json.dumps([before, len(os.listdir("/proc/self/task"))]))
"""


def test_a_rehearsal_leaves_caches_and_nothing_else(tmp_path: Path) -> None:
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    threads, hooks = torch.get_num_threads(), dict(optimizer._global_optimizer_post_hooks)
    flops._formulas.cache_clear()
    rehearsal.rehearse(tmp_path)
    assert flops._formulas.cache_info().currsize == 1
    assert torch.equal(torch.get_rng_state(), states[0])
    assert str(np.random.get_state()) == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]
    assert torch.get_num_threads() == threads
    assert dict(optimizer._global_optimizer_post_hooks) == hooks


def test_a_rehearsal_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "N_CLASSES", "two")
    with pytest.raises(AssertionError, match="TypeError"):
        rehearsal.rehearse(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_rehearsal_starts_no_thread_which_a_fork_would_not_have(tmp_path: Path) -> None:
    command = [sys.executable, "-c", THREADS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    before, after = json.loads(done.stdout)
    assert before == after


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
@pytest.mark.parametrize("there", [False, True])
def test_the_driver_of_an_accelerator_is_asked_nothing_before_a_fork(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: there)
    with Zygote(1, "cpu") as zygote:
        *_, rehearses = zygote.process.args  # type: ignore[misc]
        process, _ = zygote.start()
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    assert rehearses == ("0" if there else "1")
    assert process.ended == {"code": -9, "cpu": process.cpu_seconds()}


@pytest.mark.skipif(not rehearsal.LARGE_PAGE.exists(), reason="the kernel has no large pages")
def test_memory_lies_in_large_pages_and_is_what_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, check=True, text=True)
    before, after, is_same = json.loads(done.stdout)
    assert is_same
    if after == before:
        pytest.skip("the kernel does not collapse pages (Linux 6.1 and later do)")
    assert after - before >= 32 << 10  # kB


def test_without_large_pages_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "LARGE_PAGE", tmp_path / "none")
    rehearsal.collapse()
