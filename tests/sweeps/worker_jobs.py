"""Jobs of ``test_workers``; a module of its own, since workers import it."""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run(number: int, job: str, stop: Callable[[], bool]) -> Any:
    """Do what a job's word says."""
    if job == "double":
        return 2 * number
    if job == "signals itself at its end":
        atexit.register(os.kill, os.getpid(), signal.SIGINT)
        return 2 * number
    if job == "pid":
        return os.getpid()
    if job == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "exits":
        os._exit(3)
    if job == "tells":
        part = Path(f"{number}.part")
        part.write_text(str(os.getpid()))
        part.rename(f"{number}")
    until = time.monotonic() + 60
    while not stop() and time.monotonic() < until:
        time.sleep(0.02)
    if stop():
        Path(f"{number}.stopped").touch()
        return "stopped"
    return "waited"
