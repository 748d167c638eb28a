"""CPU seconds from the shell: ``--help``, ``list``, and a run of two tasks, against torch alone.

Every command is a process of its own, user and system time together. The commands take turns, so that
other processes on the machine disturb all alike; ``python -c "import torch"`` is the unit of the last
column. ``first step`` is a run that ends where its first experience begins, without what a process
with torch takes to end; so does ``import torch, no end``, which it is compared with.

    python -m benchmarks.start             # 7 rounds; --rounds N
    python -m benchmarks.start --page      # the same; rewrites its part of docs/scale.md
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.scale_page import DOCS, put

RUN = ("scenario=scole", "scenario.n_tasks=2", "strategy=naive")
FIRST_STEP = """
import os, sys
from clbench.strategy import GradientStrategy
GradientStrategy.learn = lambda self, task: os._exit(0)
from clbench.cli import main
main(sys.argv[1:])
"""
TARGETS = {"first step": 1.0, "run of two tasks": 1.5}
"""The most CPU seconds beyond ``import torch``, on a quiet machine."""
ALONE = {"--help": 0.15, "list": 0.15}
"""The most CPU seconds."""


def commands(out: str) -> dict[str, list[str]]:
    """What is timed, by name."""
    run = ["run", *RUN, "threads=1", "--overwrite", "-q", "--out", out]
    module = [sys.executable, "-m", "clbench"]
    return {
        "import torch": [sys.executable, "-c", "import torch"],
        "import torch, no end": [sys.executable, "-c", "import os, torch; os._exit(0)"],
        "--help": [*module, "--help"],
        "list": [*module, "list"],
        "first step": [sys.executable, "-c", FIRST_STEP, *run],
        "run of two tasks": [*module, *run],
        "run, tracker=none": [*module, *run, "tracker=none"],
    }


def cpu(command: Sequence[str]) -> float:
    """CPU seconds of a command.

    Raises:
        CalledProcessError: it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(found: dict[str, list[float]]) -> list[str]:
    """A row for each command: the median, the least, beyond torch, and in units of torch."""
    unit = statistics.median(found["import torch"])
    lines = [
        "| command | median, s | least, s | beyond `import torch`, s | times `import torch` |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, seconds in found.items():
        median = statistics.median(seconds)
        less = statistics.median(found["import torch, no end"]) if name == "first step" else unit
        beyond = f"{median - less:.2f}" if name in TARGETS or name.startswith("run,") else "–"
        lines.append(
            f"| {name} | {median:.2f} | {min(seconds):.2f} | {beyond} | {median / unit:.2f} |"
        )
    return lines


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--page", action="store_true", help="rewrite the table in docs/scale.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        arms = commands(out)
        cpu(arms["run of two tasks"])  # byte code and caches
        found: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(asked.rounds):
            for name, command in arms.items():
                found[name].append(cpu(command))
    lines = [*table(found), "", f"Medians of {asked.rounds} rounds."]
    print("\n".join(lines))
    if asked.page:
        put(DOCS / "scale.md", "start", "python -m benchmarks.start", RUN, lines)


if __name__ == "__main__":
    main()
