"""The cost of a long stream in clbench, Avalanche, CapyMOA, a Continuum loop and a hand-written loop.

SCoLe on digits (1,000 tasks of 2 classes), MLP 64-64-10, SGD, batches of 64, one thread; every arm has
the same initial weights and the same samples in the same order. After every task the world (all test
samples) is evaluated or, in the part ``row``, every task so far. Each arm is a process of its own. The
arms of a part take turns, ten tasks at a time, and CPU seconds are compared, so that ratios hold on a
noisy machine. An arm that exceeds its ``--budget`` is stopped, and the table says after which task.

    python benchmarks/long_streams.py            # 8 minutes of CPU; --quick: 1; --part naive: one part
    python benchmarks/long_streams.py --page     # run nothing; write page and figure of earlier runs

Avalanche, CapyMOA (which needs Java and torchvision) and Continuum are optional (``pip install
avalanche-lib capymoa torchvision continuum``): an arm whose framework is missing is left out, and the
table says so. The script rewrites the part of
``docs/long_streams.md`` between its marks, and ``docs/long_streams.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

BLOCK = 10
"""Tasks that an arm learns in one turn."""
SEPARATE = ("strategy=ewc", "strategy.mode=separate")
BATCHED = ("strategy.fisher=batched", "strategy.fisher_samples=100000")
"""Avalanche's estimator of the Fisher, over all samples of a task."""
OURS: dict[str, dict[str, tuple[str, ...]]] = {
    "naive": {"clbench": ("strategy=naive",)},
    "row": {"clbench": ("strategy=naive",)},
    "ewc separate": {"clbench": SEPARATE, "clbench, batched Fisher": (*SEPARATE, *BATCHED)},
    "ewc online": {
        "clbench": ("strategy=ewc",),
        "clbench, batched Fisher": ("strategy=ewc", *BATCHED),
    },
    "er": {"clbench": ("strategy=er",)},
}
"""For each part and arm, the words of ``clbench run``."""
OTHERS = {
    "naive": ("Avalanche", "CapyMOA", "Continuum", "by hand"),
    "row": ("Avalanche", "CapyMOA", "Continuum", "by hand"),
    "ewc separate": ("Avalanche", "by hand"),
    "ewc online": ("Avalanche", "CapyMOA", "by hand"),
    "er": ("Avalanche", "CapyMOA", "by hand"),
}
"""For each part, the other arms: Continuum has no EWC and no memory, CapyMOA no separate penalties."""


@dataclass
class Arm:
    """The results of one arm, stored as JSON in the part's file."""

    name: str
    gap: str = ""
    """Why there are no results, or why the arm ended early."""
    seconds: list[float] = field(default_factory=list)
    """CPU seconds per task, with its evaluation."""
    memory: list[int] = field(default_factory=list)
    """The process's peak resident bytes after each block."""
    accuracy: list[float] = field(default_factory=list)
    """The accuracy on all that is evaluated, after each block."""


def work(pipe: Connection, name: str, part: str, n_tasks: int) -> None:
    """One arm, which runs in a process of its own."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    import torch
    from long_streams_work import WARM_UP, Clock, Work

    torch.set_num_threads(1)
    torch.manual_seed(0)
    method = "naive" if part == "row" else part
    try:
        loop = _loop(name, part, method)
        loop(Work(WARM_UP), part == "row", Clock(None))
        loop(Work(n_tasks), part == "row", Clock(pipe))
    except ImportError as error:
        missing = error.name or str(error).splitlines()[0]
        pipe.send(f"not measured: {missing} is not installed")


def _loop(name: str, part: str, method: str) -> Any:
    from long_streams_capymoa import capymoa
    from long_streams_loops import by_hand, clbench
    from long_streams_peers import avalanche, continuum

    if name in OURS[part]:
        return partial(clbench, words=OURS[part][name])
    loops = {
        "Avalanche": avalanche,
        "CapyMOA": capymoa,
        "Continuum": continuum,
        "by hand": by_hand,
    }
    return partial(loops[name], method=method)


def run_part(part: str, n_tasks: int, budget: float) -> list[Arm]:
    """Run all arms of a part in turn, a block of tasks each."""
    names = [*OURS[part], *OTHERS[part]]
    arms = [Arm(name) for name in names]
    context, pipes = get_context("spawn"), []
    for arm in arms:
        ours, theirs = context.Pipe()
        arguments = (theirs, arm.name, part, n_tasks)
        context.Process(target=work, args=arguments, daemon=True).start()
        theirs.close()
        pipes.append(ours)
        arm.gap = _received(ours) or ""  # one after another: no start-up disturbs a measurement
    for block in range(0, n_tasks, BLOCK):
        for arm, pipe in zip(arms, pipes, strict=True):
            if not arm.gap:
                _block(arm, pipe, min(BLOCK, n_tasks - block), budget)
    for pipe in pipes:
        pipe.close()
    return arms


def _block(arm: Arm, pipe: Connection, n_tasks: int, budget: float) -> None:
    """Let an arm learn some tasks and record its measurements."""
    pipe.send(n_tasks)
    told = _received(pipe)
    if not isinstance(told, tuple):
        arm.gap = f"{told} after task {len(arm.seconds)}"
        return
    seconds, memory, accuracy = told
    arm.seconds += seconds
    arm.memory.append(memory)
    arm.accuracy.append(accuracy)
    if sum(arm.seconds) > budget:
        arm.gap = f"stopped after task {len(arm.seconds)}: {budget:.0f} s were used up"


def _received(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return "failed"


def environment() -> dict[str, Any]:
    """Describe the versions and the machine."""
    import torch

    versions = {}
    for package in ("clbench", "torch", "avalanche-lib", "capymoa", "continuum"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "none"
    capability = torch.backends.cpu.get_cpu_capability()
    machine = f"{platform.machine()}, {capability}, {os.cpu_count()} cores"
    return {"versions": versions, "machine": machine, "python": platform.python_version()}


def main() -> None:
    """Run the chosen parts, then write page and figure of all parts run so far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=OURS, action="append", help="default: all")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--budget", type=float, default=60.0, help="CPU seconds an arm may take")
    parser.add_argument("--quick", action="store_true", help="50 tasks, 8 s an arm")
    parser.add_argument("--page", action="store_true", help="run nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/long_streams"))
    parser.add_argument("--docs", type=Path, help="folder for page and figure (default: docs)")
    asked = parser.parse_args()
    n_tasks, budget = (50, 8.0) if asked.quick else (asked.tasks, asked.budget)
    asked.out.mkdir(parents=True, exist_ok=True)
    for part in () if asked.page else asked.part or OURS:
        start = time.perf_counter()
        arms = run_part(part, n_tasks, budget)
        found = {**environment(), "n_tasks": n_tasks, "arms": [asdict(arm) for arm in arms]}
        (asked.out / f"{part.replace(' ', '_')}.json").write_text(json.dumps(found))
        print(f"{part}: {time.perf_counter() - start:.0f} s")
        for arm in arms:
            mean = ""
            if arm.seconds:
                mean = f"{1e3 * sum(arm.seconds) / len(arm.seconds):.2f} ms a task"
            print(f"  {arm.name:24} {mean} {arm.gap}")
    from long_streams_page import write

    write(asked.out, list(OURS), asked.docs)


if __name__ == "__main__":
    main()
