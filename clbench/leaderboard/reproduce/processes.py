"""Processes of isolated strategies: forked from one that knows nothing of them, or started anew."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import torch

from clbench.errors import ClbenchError
from clbench.leaderboard.reproduce.hygiene import environment, hygiene, namespace_command

PYTHON = (sys.executable, "-P", "-B", "-m")
"""-P removes the current folder from the path; -I would also ignore PYTHONHASHSEED."""
WORKER = (*PYTHON, "clbench.leaderboard.reproduce.isolated_worker")
ZYGOTE = (*PYTHON, "clbench.leaderboard.reproduce.zygote")
START_SECONDS = 120.0
"""How long the process that others are forked from may take to import torch."""


class Process(Protocol):
    """A worker with its pipes."""

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: BinaryIO

    def kill(self) -> None:
        """End it and all that it started; calling it again does nothing."""

    def ending(self) -> tuple[int | None, float]:
        """Its exit code (negative: a signal; None: it has not ended) and its CPU seconds."""

    def cpu_seconds(self) -> float | None:
        """CPU seconds so far, as the kernel counts them; None where it cannot be asked."""


class Popened:
    """A worker that is a new interpreter."""

    def __init__(self, command: Sequence[str], home: Path, threads: int) -> None:
        self.cpu_before = _cpu_of_children()
        self.process = subprocess.Popen(
            [*namespace_command(), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env=environment(home, threads),
            start_new_session=True,
        )
        pipes = (self.process.stdin, self.process.stdout, self.process.stderr)
        self.stdin, self.stdout, self.stderr = pipes  # type: ignore[assignment]

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: BinaryIO

    def kill(self) -> None:
        """End it and all in its group."""
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()

    def ending(self) -> tuple[int | None, float]:
        """The exit code of unshare(1), which says 1 where the kernel has killed the worker."""
        try:
            code: int | None = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        return code, _cpu_of_children() - self.cpu_before

    def cpu_seconds(self) -> float | None:
        """Unknown: between it and this process stands unshare(1)."""
        return None


class Forked:
    """A worker that a zygote has forked."""

    def __init__(self, zygote: Zygote, number: int, pipes: Sequence[int]) -> None:
        self.zygote, self.number = zygote, number
        modes = ("wb", "rb", "rb")
        opened: list[Any] = [os.fdopen(fd, mode) for fd, mode in zip(pipes, modes, strict=True)]
        self.stdin, self.stdout, self.stderr = opened
        self.ended: dict[str, Any] | None = None

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: BinaryIO

    def kill(self) -> None:
        """End it and all that it started."""
        if self.ended is None:
            self.ended = self.zygote.ask({"stop": self.number})

    def ending(self) -> tuple[int | None, float]:
        """As the zygote saw it."""
        found = self.ended or self.zygote.ask({"ending": self.number})
        return found.get("code"), found.get("cpu", 0.0)

    def cpu_seconds(self) -> float | None:
        """Of all its threads; it can start no process."""
        if self.ended is not None:
            return float(self.ended.get("cpu", 0.0))
        return float(self.zygote.ask({"cpu": self.number})["cpu"])


class Zygote:
    """The process that workers are forked from, for as long as the context is open."""

    def __init__(self, threads: int, device: str) -> None:
        """Start it.

        Args:
            threads: threads of its libraries; 0: their default.
            device: where the strategies are to run; it decides which measures work.

        Raises:
            ClbenchError: it does not start.
        """
        self.folder = tempfile.TemporaryDirectory(prefix="clbench-", ignore_cleanup_errors=True)
        self.threads, self.measures = threads, hygiene(device)
        self.started = 0
        home = Path(self.folder.name) / "home"
        home.mkdir()
        namespaces = self.measures["processes"] is True
        self.control, theirs = socket.socketpair()
        with theirs:
            # The driver of an accelerator that was asked anything cannot be used in a fork.
            rehearses = not torch.accelerator.is_available()
            arguments = [str(theirs.fileno()), str(int(namespaces)), str(int(rehearses))]
            self.process = subprocess.Popen(
                [*namespace_command(), *ZYGOTE, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=home,
                env=environment(home, threads),
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        self.lines = self.control.makefile("rb")
        self.control.settimeout(START_SECONDS)
        self._line()
        self.control.settimeout(30)

    def start(self) -> tuple[Forked, Path]:
        """Fork a worker; returns it and its empty folder.

        Raises:
            ClbenchError: it does not start.
        """
        self.started += 1
        folder = Path(tempfile.mkdtemp(prefix="worker-", dir=self.folder.name))
        inside, ours = [], []
        for direction in (0, 1, 1):  # its in, out and errors
            pipe = os.pipe()
            inside.append(pipe[direction])
            ours.append(pipe[1 - direction])
        request = json.dumps({"start": self.started}).encode()
        socket.send_fds(self.control, [request], inside)
        for fd in inside:
            os.close(fd)
        fault = self._line()["fault"]
        if fault:
            for fd in ours:
                os.close(fd)
            raise ClbenchError(f"an isolated process does not start: {fault}")
        return Forked(self, self.started, ours), folder

    def ask(self, request: dict[str, int]) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        try:
            self.control.sendall(json.dumps(request).encode())
        except OSError:
            return {}
        return self._line()

    def _line(self) -> dict[str, Any]:
        try:
            line = self.lines.readline()
        except OSError:
            line = b""
        if not line:
            self.process.kill()
            pipe = self.process.stderr
            said = pipe.read()[-300:].decode(errors="replace") if pipe is not None else ""
            raise ClbenchError(
                f"the process that isolated ones are forked from ended: {' '.join(said.split())}"
            )
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and with it every process in its namespace."""
        self.lines.close()
        self.control.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        with suppress(RecursionError):  # a stranger may have nested folders deeply
            self.folder.cleanup()


def can_fork() -> bool:
    """Whether this system has what a zygote needs."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


def _cpu_of_children() -> float:
    """CPU seconds of all finished child processes; 0 on Windows."""
    times = os.times()
    return times.children_user + times.children_system
