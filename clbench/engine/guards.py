"""Counted updates: those of this process, and those that another made on its behalf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim.optimizer import _global_optimizer_post_hooks, register_optimizer_step_post_hook

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


def charge_updates(n: int) -> None:
    """Tell all who count the steps of optimizers of ``n`` steps made by another process."""
    for hook in [*_global_optimizer_post_hooks.values()]:
        for _ in range(n):
            hook(None, (), {})  # type: ignore[arg-type]
