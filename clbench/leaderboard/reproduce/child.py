"""The parent's side of an isolated strategy: calls through its pipes, and why it ended."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from clbench.errors import ClbenchError
from clbench.leaderboard.reproduce.hygiene import Limits
from clbench.leaderboard.reproduce.processes import Process
from clbench.leaderboard.reproduce.wire import (
    MAX_HEADER,
    WireError,
    read_frame,
    unpack,
    write_frame,
)

if TYPE_CHECKING:
    from torch import Tensor

Request = tuple[dict[str, Any], bytes, int, int]
"""Header, payload, and the largest sizes of the answer's payload and header in bytes."""
Reply = tuple[dict[str, Any], bytes]

TAIL = 2000
"""Bytes of stderr that are kept."""


class Child:
    """A worker process that answers calls and ends with ``stop``."""

    def __init__(
        self, name: str, process: Process, limits: Limits, folder: Path | None = None
    ) -> None:
        """Talk to a process that has been started.

        Args:
            name: the strategy's name, for errors.
            process: the worker.
            limits: its limits; the wall clock is checked here, the others in the worker.
            folder: the worker's own, which is removed with it.
        """
        self.folder = folder
        self.name, self.process, self.limits = name, process, limits
        self.deadline = time.monotonic() + limits.wall_seconds
        self.ended: str | None = None
        self.tail = b""
        self.requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.replies: queue.SimpleQueue[Reply | Exception] = queue.SimpleQueue()
        self.threads = [_thread(self._drain), _thread(self._exchange)]

    def ask(
        self,
        header: dict[str, Any],
        payload: bytes,
        max_payload: int,
        max_header: int = MAX_HEADER,
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Send one frame and wait for one.

        Raises:
            ClbenchError: no valid answer came; the process has been ended.
        """
        if self.ended is not None:
            raise ClbenchError(self.ended)
        self.requests.put((header, payload, max_payload, max_header))
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
        self.process.kill()
        if self.folder is not None:  # nothing lasts until the next process
            _remove(self.folder)
        self.requests.put(None)
        for thread in self.threads:
            thread.join(timeout=2)
        # A pipe that someone still reads from cannot be closed; it ends with our process.
        if not any(thread.is_alive() for thread in self.threads):
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                with suppress(OSError):
                    pipe.close()

    def _exchange(self) -> None:
        """Write and read in a separate thread, because pipe timeouts do not work on all systems."""
        while (request := self.requests.get()) is not None:
            header, payload, max_payload, max_header = request
            try:
                write_frame(self.process.stdin, header, payload)
                self.replies.put(read_frame(self.process.stdout, max_payload, max_header))
            except Exception as error:
                self.replies.put(error)

    def _drain(self) -> None:
        """Keep the end of stderr, so that long output neither blocks nor fills memory."""
        pipe = self.process.stderr
        while chunk := os.read(pipe.fileno(), 1 << 16):
            self.tail = (self.tail + chunk)[-TAIL:]

    def _ending(self) -> str:
        """Describe how the process ended after its pipe was closed."""
        code, cpu = self.process.ending()
        if code is None:
            return "closed its pipe"
        # The kernel's SIGKILL for too much CPU time may reach us as exit code 1, of unshare(1).
        if code and cpu > 0.9 * self.limits.cpu_seconds:
            return f"used more than cpu_seconds={self.limits.cpu_seconds}"
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"


def _remove(folder: Path) -> None:
    """Remove a folder that a stranger has filled; a tree too deep to be removed stays."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)


def _thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def one_line(text: Any, length: int) -> str:
    """Make untrusted text printable, on one line and of bounded length."""
    shown = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * length])
    shown = " ".join(shown.split())
    return shown if len(shown) <= length else shown[: length - 3] + "..."
