"""Command lines in forked processes, so that a start costs milliseconds and a kill is a real one."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NOT_BITS = (
    *("started", "finished", "environment", "code", "sources", "source_sha256"),
    "content_sha256",  # of all fields, times among them
)


def warm_up() -> None:
    """Import what every run needs, before the first fork; nothing that starts threads."""
    import importlib

    import torch

    for name in (
        *("matplotlib.pyplot", "scipy.stats", "tensorboard.summary.writer.event_file_writer"),
        *("clbench.cli.run", "clbench.engine.execute", "clbench.sweeps.local"),
        *("clbench.results.plots", "clbench.results.tables", "rich.table"),
    ):
        importlib.import_module(name)
    import clbench

    torch.set_num_threads(1)
    clbench.prepare("scenario=scole", "strategy=naive").strategy()


def start(words: list[str], log: Path, before: Callable[[], None] = lambda: None) -> int:
    """Start ``clbench WORDS`` in a session of its own; returns its process number."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        # Under pytest they write elsewhere, whatever the numbers 1 and 2 are.
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        before()
        from clbench.cli import main

        code = main(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int) -> int:
    """The exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, or none can be had."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # another system, or gone
        return True
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return number == signal.SIGKILL or bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def killed(words: list[str], log: Path, number: signal.Signals, delay: float) -> int:
    """Start a command, send a signal after ``delay`` seconds unless it has ended; its exit code.

    On a busy machine it is sent later, when the command handles it: a signal before that ends a process
    as the system does.
    """
    pid = start(words, log)
    until = time.monotonic() + delay
    while time.monotonic() < until or not handles(pid, number):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, number)
    return wait(pid)


def dying_at_rename(count: int) -> Callable[[], None]:
    """Kill the process between the ``count``-th write of a file and its rename."""

    def arrange() -> None:
        replace, left = Path.replace, [count]

        def dying(self: Path, target: Any) -> Path:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(self, target)

        Path.replace = dying  # type: ignore[method-assign, assignment]

    return arrange


def small_disk(n_bytes: int) -> Callable[[], None]:
    """Let no file become larger, as on a full disk."""

    def arrange() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return arrange


def bits(out: Path) -> dict[str, Any]:
    """What the records below a folder say, less times and memory."""
    found = {}
    for path in sorted(out.rglob("record.json")):
        data = json.loads(path.read_text())
        cost = {k: v for k, v in data["cost"].items() if not k.endswith(("_seconds", "rss_bytes"))}
        rest = {k: v for k, v in data.items() if k not in NOT_BITS}
        found[str(path.parent.relative_to(out))] = {**rest, "cost": cost}
    return found
