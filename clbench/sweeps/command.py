"""Runs one job of a sweep where an engine puts it: a command in a process of its own.

It is imported by the workers of ray, dask and submitit, so it needs the standard library alone.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

INTERRUPTED = 130
ATTEMPTS = 3
"""How often a job is started, where it is killed each time."""
LATE_SECONDS = 60.0
"""How long a shared folder may take to show a new file."""


def run_command(words: Sequence[str], folder: str, env: Mapping[str, str], log: str) -> int:
    """Run a command; start it again where it was killed or interrupted.

    The command's standard input is a pipe that this process alone holds open. It ends when this
    process does, however that goes, and the command leaves with a checkpoint (``--job attached``).

    Args:
        words: the command.
        folder: it runs in.
        env: variables, beside those of this process.
        log: the file that its output is added to.

    Returns:
        The exit code of the last attempt; below 0: the signal that ended it.
    """
    code = 0
    for _ in range(ATTEMPTS):
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [*words], cwd=folder, env={**os.environ, **env}, stdin=subprocess.PIPE,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
            code = process.wait()
        if code >= 0 and code != INTERRUPTED:
            break
    return code


def sees(path: str, seconds: float = 10.0) -> bool:
    """Whether this machine sees a file, at once or within some seconds."""
    until = time.monotonic() + seconds
    while not Path(path).exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
