"""``realtime``: the stream does not wait, and its clock counts operations.

Ghunaim et al. 2023 (CVPR, arXiv 2302.01047) let a method that needs C times the time of the stream
train on every C-th batch only, and predict with the weights that it has. Here time is counted:

- A sample that passes gives the strategy as many floating-point operations as a forward and a backward
  pass of the run's network (``model=``) takes for it, times ``realtime``.
- Every ``learn`` and ``prepare`` is counted. What they need is a debt, which passing samples work off.
  Predictions are free.
- An experience stays until the next one comes. A strategy that is done before takes it. One that is
  busy all the while misses it. So with experiences of one size and C >= 1 it takes the experiences
  ``floor(j C)``, j = 0, 1, ...: a fraction of C is carried over. Time that is left over is lost.
- What is learnt takes effect when it is paid for: experiences that arrive before are predicted with
  the state from before it. They are predicted at once, by a twin that is built from that state. The
  evaluations on test data see the newest state.

What differs from the paper: its clock is the wall's, and its C is a ratio by method; here C follows
from what each experience really took, equal on every machine. What torch does not dispatch (numpy) and
what has no formula (elementwise operations) costs nothing, and parallelism gains nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import torch
import torch.nn.functional as F

from clbench import seeding
from clbench.engine.build import Run
from clbench.engine.calls import build_network
from clbench.engine.ledger import Ledger
from clbench.engine.prequential import Prequential
from clbench.errors import UsageError
from clbench.nets.flops import Count
from clbench.seeding import Axis
from clbench.strategy import Strategy
from clbench.stream import Draw

BATCH = 32
"""Samples of the pass that is counted."""


def flops_per_sample(run: Run) -> int:
    """Operations that a passing sample gives: ``realtime`` times a pass of the network, rounded up.

    Raises:
        UsageError: the network has no operation that counts.
    """
    info, common = run.info(), run.config.common
    with seeding.preserved(common.threads), torch.device(run.device):
        seeding.seed_all(common.seed, Axis.MODEL)
        network = build_network(
            run.config.model,
            run.config.plugins["model"],
            info.input_shape,
            info.n_classes,
            info.scale,
        )
        network.to(run.device).train()
        x = torch.zeros(BATCH, *info.input_shape, dtype=info.dtype)
        with Count() as count:
            F.cross_entropy(network(x), torch.zeros(BATCH, dtype=torch.int64)).backward()
    if count.total == 0:
        raise UsageError(
            f"realtime={common.realtime}: the network {run.config.plugins['model'].name!r} has no "
            "operation that counts; choose another model, or drop realtime="
        )
    asked: int = math.ceil(Fraction(repr(common.realtime)) * count.total / BATCH)
    return asked


class Clock:
    """Says whether a strategy has time for an experience, and what it predicts while it has none."""

    def __init__(self, run: Run, strategy: Strategy, ledger: Ledger, online: Prequential) -> None:
        """Count a pass of the network.

        Raises:
            UsageError: it has no operation that counts.
        """
        self.strategy, self.online = strategy, online
        self.stream, self.ledger = run.stream, ledger
        ledger.online.flops_per_sample = flops_per_sample(run)
        self.twin = run.strategy()

    def has_time(self, draw: Draw) -> bool:
        """Whether the debt is worked off before an experience has gone by."""
        return self.ledger.online.debt < self._worth(draw)

    def _worth(self, draw: Draw) -> int:
        return len(draw.index) * self.ledger.online.flops_per_sample

    @contextmanager
    def charging(self) -> Iterator[None]:
        """Count the training inside, charge it, and keep the state from before it."""
        self.earlier = copy.deepcopy(self.strategy.state_dict())
        with Count() as count:
            yield
        self.ledger.online.debt += count.total
        self.ledger.online.spent += count.total
        self.ledger.uncounted = sorted({*self.ledger.uncounted, *count.uncounted})

    def pass_by(self, draw: Draw, trained: bool) -> None:
        """Let an experience go by; those that come before training ends are predicted now.

        Args:
            draw: the experience.
            trained: whether the strategy began to train while it was there.
        """
        books = self.ledger.online
        books.debt = max(0, books.debt - self._worth(draw))
        if not trained or books.debt == 0:
            return
        self.twin.load_state_dict(self.earlier)
        number, left = draw.number + 1, books.debt
        while left > 0 and self.online.exists(number):
            coming = self.stream.draw(number)
            self.online.predict(self.twin, coming)
            left -= self._worth(coming)
            number += 1
