"""Runs a command line and measures what it costs: computing time and peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.faults import bombs

SECONDS, MEGABYTES = 2.0, 500.0
"""What a refusal may cost, less what a harmless command costs."""
DEADLINE = 60
"""Seconds after which a command is killed."""
HARMLESS = ("run", "scenario=scole", "strategy=naive", "data=npz", "--dry-run", "-q")
STUB = """
import json, os, resource, signal, subprocess, sys
limit, words = int(sys.argv[1]), sys.argv[2:]
out, err = open("out", "wb"), open("err", "wb")
child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
signal.signal(signal.SIGALRM, lambda *_: child.kill())
signal.alarm(limit)
_, status, used = os.wait4(child.pid, 0)
seconds = used.ru_utime + used.ru_stime
json.dump([os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss], sys.stdout)
"""
"""Starts a command from a small process: a child's peak memory begins with that of its parent."""


class Measured(NamedTuple):
    """What came of a command line."""

    code: int
    seconds: float
    """Of computing, in user and system mode, so that a busy machine changes little."""
    megabytes: float
    """Largest resident memory."""
    out: str
    err: str


def measured(words: list[str | Path], folder: Path) -> Measured:
    """Run ``python -m clbench WORDS`` in a folder; it is killed after ``DEADLINE`` seconds."""
    command = [sys.executable, "-m", "clbench", *map(str, words)]
    stub = [sys.executable, "-S", "-E", "-c", STUB, str(DEADLINE), *command]
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "CLBENCH_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        stub, cwd=folder, env=environment, capture_output=True, check=True, timeout=2 * DEADLINE
    )
    code, seconds, kilobytes = json.loads(done.stdout)
    texts = [(folder / name).read_text(errors="backslashreplace") for name in ("out", "err")]
    return Measured(code, seconds, kilobytes / 1024, texts[0], texts[1])


def harmless(folder: Path) -> Measured:
    """What a dry run of a small data set costs."""
    bombs.npz(folder / "small.npz", **bombs.arrays())
    return measured([*HARMLESS, f"data.path={folder / 'small.npz'}"], folder)


def faults(found: Measured, base: Measured) -> list[str]:
    """What is wrong with a refusal; empty if nothing is."""
    lines = found.err.splitlines()
    wrong = []
    if found.code not in (1, 2):
        wrong.append(f"exit code {found.code}")
    if len(lines) != 1 or not lines[0].startswith("clbench: error: "):
        wrong.append(f"{len(lines)} lines on stderr: {found.err[:300]!r}")
    if "Traceback" in found.err + found.out:
        wrong.append(f"a traceback: {found.err[-300:]!r}")
    if any(not c.isprintable() for line in lines for c in line) or len(found.err) > 2000:
        wrong.append("stderr is long or not printable")
    if found.seconds - base.seconds > SECONDS:
        wrong.append(f"{found.seconds - base.seconds:.1f} s more than a harmless run")
    if found.megabytes - base.megabytes > MEGABYTES:
        wrong.append(f"{found.megabytes - base.megabytes:.0f} MB more than a harmless run")
    return wrong
