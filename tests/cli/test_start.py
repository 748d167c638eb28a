"""What a command does not import, which is most of what its start would cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = ("run", "scenario=scole", "scenario.n_tasks=2", "strategy=naive", "-q")
AT_THE_FIRST_STEP = """
import os, sys
from clbench.strategy import GradientStrategy
def learn(self, task):
    found = set({names!r}) & set(sys.modules)
    print(*sorted(found), flush=True)
    os._exit(0)
GradientStrategy.learn = learn
from clbench.cli import main
main(sys.argv[1:])
"""
IN_A_RUN = """
import sys
from clbench.cli import main
code = main(sys.argv[1:])
print("loaded:", *sorted(set({names!r}) & set(sys.modules)))
sys.exit(code)
"""
NEVER = ("torch._dynamo", "torch._inductor", "pandas", "sklearn", "scipy", "IPython", "ray", "dask")


def python(script: str, *words: str) -> str:
    """The output of a script in a new process."""
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("shared_cache")
def test_the_first_step_waits_for_no_library_of_figures_and_tables(tmp_path: Path):
    names = (*NEVER, "matplotlib", "PIL")
    found = python(AT_THE_FIRST_STEP.format(names=names), *RUN, "--out", str(tmp_path))
    assert found.split() == []


@pytest.mark.usefixtures("shared_cache")
def test_a_run_without_trackers_loads_neither_tensorboard_nor_what_tables_need(tmp_path: Path):
    names = (*NEVER, "tensorboard", "torch.utils.tensorboard", "matplotlib.pyplot")
    out = python(IN_A_RUN.format(names=names), *RUN, "tracker=none", "--out", str(tmp_path))
    assert out.splitlines()[-1].split() == ["loaded:"]


def test_a_list_of_all_loads_no_array_library():
    out = python(IN_A_RUN.format(names=("numpy", "torch", *NEVER)), "list")
    assert "world_accuracy" in out
    assert out.splitlines()[-1].split() == ["loaded:"]
