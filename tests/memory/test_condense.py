"""Condensation: the matching losses against closed forms, and what a condensed memory costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import go, run
from test_replay import build
from torch import nn

from clbench.memory.condense import Effort, condense, distance, matching_loss

CLASSES = 4


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, CLASSES).double()


def samples(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    y = torch.tensor([0, 2, 3])[torch.arange(n) % 3]
    return torch.randn(n, 5, dtype=torch.float64) + y[:, None], y


def weight_gradient(model: nn.Module, x: torch.Tensor, y: torch.Tensor, label: int) -> np.ndarray:
    """Of the mean cross-entropy of a class by a linear layer's weights, ``(p - onehot) x^T``."""
    chosen = (y == label).numpy()
    z = x.numpy()[chosen]
    weight, bias = (p.detach().numpy() for p in model.parameters())
    scores = z @ weight.T + bias
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return (p - np.eye(CLASSES)[label]).T @ z / len(z)


def gap(a: np.ndarray, b: np.ndarray) -> float:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float((1 - (a * b).sum(1) / norms).sum())


@pytest.mark.parametrize("matching", ["dcc", "dc"])
def test_the_matching_loss_of_a_linear_layer_is_the_closed_form(matching: Any):
    model, ours, theirs = linear(), samples(6, 1), samples(30, 2)
    parts = [[weight_gradient(model, *s, label) for label in (0, 2, 3)] for s in (ours, theirs)]
    if matching == "dcc":
        wanted = gap(sum(parts[0]), sum(parts[1]))
    else:
        wanted = sum(gap(a, b) for a, b in zip(*parts, strict=True))
    found = matching_loss(model, ours, theirs, CLASSES, matching)
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("matching", ["dcc", "dc"])
def test_its_gradient_by_the_samples_is_that_of_finite_differences(matching: Any):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, CLASSES)).double()
    (x, y), theirs = samples(6, 1), samples(12, 2)
    x.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: matching_loss(model, (x, y), theirs, CLASSES, matching), (x,), atol=1e-5
    )


@pytest.mark.parametrize("matching", ["dcc", "dc"])
def test_the_same_samples_match(matching: Any):
    model, ours = linear(), samples(9, 1)
    assert float(matching_loss(model, ours, ours, CLASSES, matching).detach()) < 1e-9


def test_vectors_are_left_out_of_the_distance():
    matrix = torch.randn(3, 4)
    assert float(distance([matrix, torch.ones(3)], [matrix, -torch.ones(3)])) < 1e-5


@pytest.mark.parametrize("matching", ["dcc", "dc"])
def test_condensation_lowers_the_loss_on_networks_that_it_has_not_met(matching: Any):
    (start, y), (real, real_y) = samples(3, 1), samples(60, 2)

    def draw(classes: torch.Tensor) -> torch.Tensor:
        picks = [torch.where(real_y == c)[0] for c in classes]
        return torch.stack([real[at[torch.randint(len(at), ())]] for at in picks])

    def fresh() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, CLASSES)).double()

    made, losses = condense(
        start,
        y,
        draw,
        fresh,
        Effort(15, 10, 1, 20, 0.1, 0.01),
        scale=1.0,
        n_classes=CLASSES,
        matching=matching,
        bounded=False,
    )
    assert len(losses) == 150
    torch.manual_seed(9)
    models = [fresh() for _ in range(20)]
    before, after = (
        sum(
            float(matching_loss(m, (x, y), (real, real_y), CLASSES, matching).detach())
            for m in models
        )
        for x in (start, made)
    )
    assert after < 0.8 * before


SMALL = ("strategy.networks=2", "strategy.steps=3", "strategy.network_steps=1")


def test_a_condensed_memory_takes_the_bytes_of_a_herded_one():
    words = ("scenario=class_incremental", "strategy.batch_size=8")
    for size in ("memory_per_class=3", "memory_size=11", "memory_bytes=900"):
        found = []
        for name, settings in (("er", ()), ("condensed_replay", SMALL)):
            policy = "strategy.policy=herding"
            r = run(*words, f"strategy={name}", f"strategy.{size}", policy, *settings)
            strategy, outcome = go(r)
            assert outcome.error is None
            found.append((strategy.memory_bytes(), int(strategy.memory.filled)))
            assert strategy.memory.x.dtype == r.stream.experience(0).x.dtype
        assert found[0] == found[1]


def test_stored_samples_are_synthetic_and_those_of_earlier_classes_stay():
    r, strategy = build("condensed_replay", *SMALL, "strategy.memory_per_class=2")
    first, second = (r.stream.experience(t) for t in range(2))
    strategy.learn(first)
    n = int(strategy.memory.filled)
    made = strategy.memory.x[:n].clone()
    assert set(strategy.memory.y[:n].tolist()) == set(first.y.tolist())
    real = strategy.memory.key[:n]
    at = [int((first.key == key).nonzero()[0]) for key in real]
    assert torch.equal(first.y[at], strategy.memory.y[:n])
    assert not torch.equal(first.x[at].to(made.dtype), made)
    strategy.learn(second)
    assert torch.equal(strategy.memory.x[:n], made)
    assert float(strategy.diagnostics()["matching_loss"]) > 0
