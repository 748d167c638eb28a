"""How a run grows: 100,000 tasks, 10,000 evaluations of 10,000 views, 1,000 classes in 100 domains.

Each measurement is a process of its own, which writes a JSON file under ``--out``; ``--page`` writes
the tables of all of them into ``docs/scale.md``. Times are CPU seconds. Beside every 500 tasks a fixed
yardstick (training steps of a hand-written loop) is timed, and tasks are also given in its unit:
other processes share caches and clock.

    python -m benchmarks.scale                       # all, about 20 minutes of CPU
    python -m benchmarks.scale --only naive --only views
    python -m benchmarks.scale --page                # run nothing
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.scale_page import write

STREAMS = {
    "naive": ("strategy=naive",),
    "ewc": ("strategy=ewc",),
    "er": ("strategy=er",),
}
"""Long streams: the words of their strategy."""
EVERY = 500
"""Tasks between two readings of the clocks."""


def stream(name: str, tasks: int, out: Path) -> dict[str, Any]:
    """``clbench run`` over a long stream, with record, curve and TensorBoard.

    Returns:
        CPU seconds of each block of ``EVERY`` tasks and of the yardstick behind it, resident bytes
        after each block, bytes of the files that the run wrote.
    """
    import torch

    import clbench
    from clbench.tracker import Progress

    torch.set_num_threads(1)
    seconds: list[float] = []
    yards: list[float] = []
    memory: list[int] = []
    yardstick = _Yardstick()
    since = time.process_time()

    def report(progress: Progress) -> None:
        nonlocal since
        if progress.experiences % EVERY or not progress.experiences:
            return
        now = time.process_time()
        seconds.append(now - since)
        memory.append(resident())
        yards.append(yardstick.seconds())
        since = time.process_time()

    words = ("scenario=scole", f"scenario.n_tasks={tasks}", "eval_every=log", "threads=1")
    start = time.process_time()
    record = clbench.run(*words, *STREAMS[name], out=out, report=report, quiet=True)
    assert not isinstance(record, list)
    files = [p for p in out.rglob("*") if p.is_file()]
    return {
        "tasks": tasks,
        "status": record.status,
        "evaluations": len(record.counts["evaluated_after"]),
        "seconds": seconds,
        "yards": yards,
        "memory": memory,
        "total_seconds": time.process_time() - start,
        "peak": peak(),
        "bytes": {p.name.split(".")[0]: p.stat().st_size for p in files},
        "results": results(out),
    }


class _Yardstick:
    """Training steps of a hand-written loop, on a network and a batch of its own."""

    def __init__(self) -> None:
        import torch
        from torch import nn

        generator = torch.Generator().manual_seed(0)
        self.x = torch.rand(64, 64, generator=generator)
        self.y = torch.randint(10, (64,), generator=generator)
        layers = (nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.model = nn.Sequential(*layers)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-6)

    def seconds(self, steps: int = 60) -> float:
        """CPU seconds of some steps."""
        import torch.nn.functional as F

        start = time.process_time()
        for _ in range(steps):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(self.x), self.y).backward()
            self.optimizer.step()
        return time.process_time() - start


def results(out: Path, times: int = 3) -> dict[str, list[float]]:
    """CPU seconds of ``clbench results`` on a folder of long runs, and on a run of two tasks."""
    words = ("scenario=scole", "scenario.n_tasks=2", "strategy=naive")
    with tempfile.TemporaryDirectory() as short:
        command("run", *words, "tracker=none", "-q", "--out", short)
        found: dict[str, list[float]] = {"long": [], "two tasks": []}
        for _ in range(times):
            found["long"].append(command("results", str(out)))
            found["two tasks"].append(command("results", short))
    return found


def command(*words: str) -> float:
    """CPU seconds, user and system, of a command of clbench in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python = [sys.executable, "-m", "clbench", *words]
    subprocess.run(python, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def resident() -> int:
    """Bytes of memory that the process has now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """The largest number of bytes of memory that the process had."""
    from clbench.util.environment import peak_rss_bytes

    return peak_rss_bytes() or 0


def measure(name: str, tasks: int, out: Path) -> None:
    """One measurement, in this process; writes its file."""
    with tempfile.TemporaryDirectory() as folder:
        if name in STREAMS:
            found = stream(name, tasks, Path(folder))
        else:
            from benchmarks import scale_worlds

            found = scale_worlds.MEASURED[name](Path(folder))
    (out / f"{name}.json").write_text(json.dumps(found))


def main() -> None:
    """Run what is asked for, each in a process of its own; then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*STREAMS, "views", "world"]
    parser.add_argument("--only", choices=names, action="append", help="default: all")
    parser.add_argument("--tasks", type=int, default=100_000, help="of the long streams")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page")
    parser.add_argument("--out", type=Path, default=Path("runs/scale"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    chosen = () if asked.page else asked.only or names
    if asked.here:
        measure(chosen[0], asked.tasks, asked.out)
        return
    for name in chosen:
        words = ["--here", "--only", name, "--tasks", str(asked.tasks), "--out", str(asked.out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "benchmarks.scale", *words]
        subprocess.run(command, check=True, env=environment)
        print(f"{name}: {asked.out / name}.json")
    write(asked.out, EVERY, [*STREAMS])


if __name__ == "__main__":
    main()
