"""What a signal does: it ends a command at once, or, while something runs, after its next step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""Ctrl-C; kill; a lost terminal; what schedulers of clusters send before they end a job."""


def _signals() -> list[signal.Signals]:
    """Those of this system, less SIGHUP where ``nohup`` has it ignored.

    Shells ignore SIGINT in jobs that they start in the background; that is no wish of the user.
    """
    there = [signal.Signals[name] for name in NAMES if hasattr(signal, name)]
    kept = signal.getsignal(signal.SIGHUP) if hasattr(signal, "SIGHUP") else None
    return [n for n in there if n.name != "SIGHUP" or kept is not signal.SIG_IGN]


@contextmanager
def handled(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Handle the signals in here; in other threads than the main one nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _signals()}
    try:
        yield
    finally:
        for number, old in before.items():
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # ``keep_out`` came meanwhile
            # None: a handler that was not set from Python cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if old is None else old)


@contextmanager
def held() -> Iterator[None]:
    """Hold the signals back in here, and in a process that is started here until it lets them in."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_in() -> None:
    """Let in the signals that the starter of this process held back; those that came act now."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _signals())


def keep_out() -> None:
    """Ignore the signals for as long as this process still lives.

    To hold them back would not do: a mask is of one thread, and another would take them.
    """
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def interrupting() -> Iterator[Callable[[], bool]]:
    """Let every one of the signals raise KeyboardInterrupt, as Ctrl-C does; yields whether one came.

    An import of compiled code turns it into an ImportError, so that whoever catches that has to ask.
    """
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    with handled(interrupt):
        yield lambda: came


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Defer the first signal to whoever asks next; a second one raises KeyboardInterrupt at once."""
    wanted = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal wanted
        if wanted:
            raise KeyboardInterrupt
        wanted = True

    with handled(handle):
        yield lambda: wanted
