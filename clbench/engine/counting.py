"""Which calls are counted, what the counts of some say about all, and what is held meanwhile.

Counting slows a call down, so calls 1, 2, 4, 8, … are counted, and about one in ``ONE_IN`` that a hash
of the seed and the call's number chooses. The hash makes a sample that no schedule can avoid; powers of
two serve runs that are too short for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from torch.optim.optimizer import register_optimizer_step_post_hook

from clbench.engine.reach import held_bytes
from clbench.nets.flops import Count
from clbench.nets.frozen import constants
from clbench.strategy import Strategy
from clbench.stream import TaskData

ONE_IN = 32
ENOUGH = 4
"""Hashed calls from which their mean serves alone."""
TOLERANCE = 0.1
"""By how much the estimated updates may differ from all updates, where operations are ranked."""

Kind = Literal["learn", "prepare", "predict", "online"]


Numbers = tuple[int, int, int, int, bool]
"""A ``Counted`` as plain data."""


class Counted(NamedTuple):
    """What one counted call did."""

    before: int
    """Units before it: samples delivered, or calls."""
    units: int
    """Its own units."""
    operations: int
    updates: int
    hashed: bool
    """Whether the hash chose it."""


def is_hashed(seed: int, kind: Kind, number: int) -> bool:
    """Whether a hash of seed and number chooses a call."""
    return hashlib.sha256(f"clbench {seed} {kind} {number}".encode()).digest()[0] % ONE_IN == 0


def is_counted(seed: int, kind: Kind, number: int) -> bool:
    """Whether call ``number`` (from 1) is counted."""
    return number & (number - 1) == 0 or is_hashed(seed, kind, number)


def estimate(
    counted: Sequence[Numbers],
    until: int,
    of: Literal["operations", "updates"],
) -> float:
    """Estimate the total of a quantity over ``until`` units from the counted calls.

    It is the mean rate of the hashed calls. With fewer than ``ENOUGH`` of them, it is the sum of all
    counted calls and, for the units between two of them, the mean of their rates.
    """
    found = [Counted(*c) for c in counted]
    amounts = [c.operations if of == "operations" else c.updates for c in found]
    hashed = [(amount, c.units) for amount, c in zip(amounts, found, strict=True) if c.hashed]
    if len(hashed) >= ENOUGH:
        return until * sum(amount for amount, _ in hashed) / sum(units for _, units in hashed)
    total, at, rate = 0.0, 0, None
    for amount, call in zip(amounts, found, strict=True):
        here = amount / call.units
        total += amount + (call.before - at) * (here if rate is None else (rate + here) / 2)
        at, rate = call.before + call.units, here
    return total + (until - at) * (rate or 0.0)


class Watch:
    """What a counted call did, and the most bytes that the strategy held meanwhile."""

    def __init__(self, strategy: Strategy, given: TaskData | None) -> None:
        self.strategy = strategy
        self.given = given
        self.count = Count()
        self.updates = 0
        self.held_bytes = 0

    def look(self) -> None:
        """Measure the tensors that can be reached from the strategy, less those it was given.

        Frozen weights follow from the settings and are left out.
        """
        given: tuple[object, ...] = () if self.given is None else (self.given,)
        given = (*given, constants(self.strategy))
        self.held_bytes = max(self.held_bytes, held_bytes(self.strategy, apart_from=given))


@contextmanager
def watching(strategy: Strategy, given: TaskData | None, is_idle: bool = False) -> Iterator[Watch]:
    """Count a call's operations and updates, and look at what is held meanwhile.

    A look takes as long as a small update, so it is taken before and after the call and after updates
    1, 2, 4, 8, …. A call that is known to do nothing is looked at once.
    """
    watch = Watch(strategy, given)
    if is_idle:
        watch.look()
        yield watch
        return

    def after(*_: object) -> None:
        watch.updates += 1
        if watch.updates & (watch.updates - 1) == 0:
            watch.look()

    handle = register_optimizer_step_post_hook(after)
    try:
        watch.look()
        with watch.count:
            yield watch
        watch.look()
    finally:
        handle.remove()
