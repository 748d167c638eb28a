"""Contexts of the training loop: deferred interrupts and counted updates."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from clbench.engine.ledger import Ledger


@contextmanager
def counting_updates(ledger: Ledger) -> Iterator[None]:
    """Count the steps of all torch optimizers."""

    def count(*_: Any) -> None:
        ledger.updates += 1

    handle = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Defer the first Ctrl-C (or SIGTERM) to the end of the experience; a second one acts at once.

    Handlers work in the main thread only; in other threads interrupts are not changed.
    """
    wanted = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal wanted
        if wanted:
            raise KeyboardInterrupt
        wanted = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: wanted
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
