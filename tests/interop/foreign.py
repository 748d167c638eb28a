"""What the tests of the bridge to Avalanche share: a skip where it is missing, runs, weights."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import pytest
import torch
from small import run as small_run
from torch import Tensor

from clbench import seeding
from clbench.data.pool import TensorPool
from clbench.engine.build import Run
from clbench.seeding import Axis
from clbench.strategy import Strategy

MISSING = importlib.util.find_spec("avalanche") is None
needs_avalanche = [
    pytest.mark.avalanche,
    pytest.mark.skipif(MISSING, reason="avalanche-lib is not installed: clbench[avalanche]"),
]
TASKS = ("scenario=scole", "scenario.n_tasks=5", "scenario.classes_per_task=2", "seed=3")
"""Five tasks whose classes come back."""


def run_of(
    *words: str, strategy: type[Strategy] | None = None, on: TensorPool | None = None
) -> Run:
    """A run over the small world, with another class of strategy if one is given."""
    given = {word.partition("=")[0] for word in words}
    run = small_run(*(w for w in TASKS if w.partition("=")[0] not in given), *words, on=on)
    return run if strategy is None else replace(run, strategy_class=strategy)


def weights(strategy: Any) -> Tensor:
    """``(P,)``: a copy of all parameters of a strategy's network."""
    return torch.cat([p.detach().reshape(-1).clone() for p in strategy.model.parameters()])


def learn(run: Run, strategy: Strategy) -> list[Tensor]:
    """All experiences as the harness delivers them; the weights after each."""
    found = []
    with seeding.preserved(threads=1):
        for number in range(run.stream.n_experiences(run.n_tasks or 0)):
            seeding.seed_all(run.config.common.seed, Axis.LEARN, number)
            strategy.learn(run.stream.experience(number))
            found.append(weights(strategy))
    return found
