"""Contexts of the training loop: counted updates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
