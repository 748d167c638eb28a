"""The parent's side of an isolated strategy: its process, its pipes, and why it ended."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from clbench.errors import ClbenchError
from clbench.leaderboard.reproduce.hygiene import Limits, environment, namespace_command
from clbench.leaderboard.reproduce.wire import WireError, read_frame, unpack, write_frame

if TYPE_CHECKING:
    from torch import Tensor

Request = tuple[dict[str, Any], bytes, int]
"""Header, payload, and the largest size of the answer's payload in bytes."""
Reply = tuple[dict[str, Any], bytes]

WORKER = (sys.executable, "-P", "-B", "-m", "clbench.leaderboard.reproduce.isolated_worker")
"""Removes the current folder from the path; -I would also ignore PYTHONHASHSEED."""
TAIL = 2000
"""Bytes of stderr that are kept."""


class Child:
    """A worker process that answers calls and ends with ``stop``."""

    def __init__(
        self,
        name: str,
        folder: Path,
        threads: int,
        limits: Limits,
        command: Sequence[str] = WORKER,
    ) -> None:
        """Start the process.

        Args:
            name: the strategy's name, for errors.
            folder: an empty folder of its own.
            threads: threads of its libraries; 0: their default.
            limits: its limits; the wall clock is checked here, the others in the worker.
            command: the command that starts the worker.
        """
        self.name, self.limits = name, limits
        home = folder / "home"
        home.mkdir()
        self.deadline = time.monotonic() + limits.wall_seconds
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
        self.ended: str | None = None
        self.tail = b""
        self.requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.replies: queue.SimpleQueue[Reply | Exception] = queue.SimpleQueue()
        self.threads = [_thread(self._drain), _thread(self._exchange)]

    def ask(
        self, header: dict[str, Any], payload: bytes, max_payload: int
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Send one frame and wait for one.

        Raises:
            ClbenchError: no valid answer came; the process has been ended.
        """
        if self.ended is not None:
            raise ClbenchError(self.ended)
        self.requests.put((header, payload, max_payload))
        try:
            reply = self.replies.get(timeout=max(0.0, self.deadline - time.monotonic()))
            if isinstance(reply, Exception):
                raise reply
            return reply[0], unpack(reply[1])
        except queue.Empty:
            self.fail(f"took longer than wall_seconds={self.limits.wall_seconds:g}")
        except WireError as error:
            self.fail(f"sent {error}")
        except (EOFError, OSError):
            self.fail(self._ending())

    def fail(self, what: str) -> NoReturn:
        """End the process and say why.

        Raises:
            ClbenchError: always.
        """
        self.stop()
        said = one_line(self.tail.decode(errors="replace")[-300:], 300)
        self.ended = f"the process of strategy {self.name!r} {what}"
        self.ended += f"; its last words: {said}" if said else ""
        raise ClbenchError(self.ended) from None

    def stop(self) -> None:
        """End the process and all in its group; calling it again does nothing."""
        if self.ended is None:
            self.ended = f"the process of strategy {self.name!r} has been stopped"
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        self.requests.put(None)
        for thread in self.threads:
            thread.join(timeout=2)
        # A pipe that someone still reads from cannot be closed; it ends with our process.
        if not any(thread.is_alive() for thread in self.threads):
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                with suppress(OSError):
                    _pipe(pipe).close()

    def _exchange(self) -> None:
        """Write and read in a separate thread, because pipe timeouts do not work on all systems."""
        while (request := self.requests.get()) is not None:
            header, payload, max_payload = request
            try:
                write_frame(_pipe(self.process.stdin), header, payload)
                self.replies.put(read_frame(_pipe(self.process.stdout), max_payload))
            except Exception as error:
                self.replies.put(error)

    def _drain(self) -> None:
        """Keep the end of stderr, so that long output neither blocks nor fills memory."""
        pipe = _pipe(self.process.stderr)
        while chunk := os.read(pipe.fileno(), 1 << 16):
            self.tail = (self.tail + chunk)[-TAIL:]

    def _ending(self) -> str:
        """Describe how the process ended after its pipe was closed."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        # The kernel's SIGKILL for too much CPU time reaches us through unshare(1) as exit code 1.
        if code and self._cpu() > 0.9 * self.limits.cpu_seconds:
            return f"used more than cpu_seconds={self.limits.cpu_seconds}"
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"

    def _cpu(self) -> float:
        return _cpu_of_children() - self.cpu_before


def _thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _pipe(pipe: IO[bytes] | None) -> Any:
    assert pipe is not None
    return pipe


def _cpu_of_children() -> float:
    """CPU seconds of all finished child processes; 0 on Windows."""
    times = os.times()
    return times.children_user + times.children_system


def one_line(text: Any, length: int) -> str:
    """Make untrusted text printable, on one line and of bounded length."""
    shown = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * length])
    shown = " ".join(shown.split())
    return shown if len(shown) <= length else shown[: length - 3] + "..."
