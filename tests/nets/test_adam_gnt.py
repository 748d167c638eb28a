"""Adam with a count for each weight: torch's where nothing restarts, and new where a unit does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import run
from torch import Tensor, nn

from clbench.nets.optim import FlatWeights, build_optimizer

WORDS = ("scenario=scole", "scenario.n_tasks=20", "model=mlp", "model.hidden=[8,6]")


def stepped(name: str, gradients: Tensor, decay: float = 0.0) -> Tensor:
    torch.manual_seed(0)
    flat = FlatWeights(nn.Linear(3, 4).double())
    optimizer = build_optimizer(name, flat, 0.01, 0.0, decay)
    for g in gradients:
        flat.vector.grad = g.clone()
        optimizer.step()
    return flat.vector.detach()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_without_restarts_it_is_adam(decay: float):
    gradients = torch.randn(30, 16, dtype=torch.float64)
    ours, torchs = (stepped(name, gradients, decay) for name in ("adam_gnt", "adam"))
    torch.testing.assert_close(ours, torchs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "words",
    [
        ("strategy=continual_backprop", "strategy.maturity=1", "strategy.replacement_rate=0.05"),
        ("strategy=redo", "strategy.reset_period=3", "strategy.tau=0.6"),
    ],
)
def test_a_new_unit_takes_the_step_of_a_new_network(words: tuple[str, ...]):
    """Its first step is lr in the sign of each gradient: m / sqrt(v) of one gradient is its sign."""
    r = run(*words, *WORDS, "strategy.optimizer=adam_gnt", "strategy.clip_norm=null")
    strategy: Any = r.strategy().double()
    for t in range(6):
        strategy.learn(r.stream.experience(t))
    state = strategy.optimizer.state[strategy._flat.vector]
    assert int(strategy.replaced) > 0
    assert state["count"].max() > state["count"].min()
    layer = strategy.layers[0]
    state_parts = [strategy.per_parameter(state[k]) for k in ("count", "mean", "square")]
    for part in state_parts:  # as a unit is replaced
        layer.parts(part)[0][2] = 0
    before = layer.parts(strategy.per_parameter(strategy.weights))[0][2].clone()
    gradient = torch.randn_like(strategy.weights)
    strategy.follow(gradient)
    moved = layer.parts(strategy.per_parameter(strategy.weights))[0][2] - before
    wanted = -strategy.lr * layer.parts(strategy.per_parameter(gradient))[0][2].sign()
    torch.testing.assert_close(moved, wanted, rtol=1e-4, atol=1e-9)
