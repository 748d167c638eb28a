"""What all strategies with a quadratic penalty share, whatever their importances."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small import run
from torch import Tensor

from clbench.errors import UsageError
from clbench.strategy import Batch

SCALED = ("si", "mas", "rwalk")
"""lam multiplies the importances."""
NAMES = (*SCALED, "online_laplace")


def built(name: str, *words: str) -> tuple[Any, Any]:
    r = run(f"strategy={name}", "scenario=scole", "scenario.n_tasks=20", *words)
    return r, r.strategy().double()


def learnt(name: str, n: int, *words: str) -> tuple[Any, Any]:
    r, strategy = built(name, *words)
    for t in range(n):
        strategy.learn(r.stream.experience(t))
    return r, strategy


def whole(task: Any) -> Batch:
    return Batch(task.x, task.y, None, task.classes)


def penalty_gradient(strategy: Any, at: Tensor) -> Tensor:
    """Of the penalty as it is written down, by autograd."""
    at = at.clone().requires_grad_()
    held = strategy.importance * (at - strategy.anchor).square()
    return torch.autograd.grad(strategy.strength / 2 * held.sum(), at)[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_proximal_step_is_the_minimum_of_penalty_plus_distance(name: str, momentum: float):
    """W = argmin 1/(2 lr') |w - v|^2 + penalty(w), v the weights after the plain step."""
    words = ("strategy.lam=30", f"strategy.momentum={momentum}")
    r, strategy = learnt(name, 3, *words)
    free = built(name, *words)[1]
    free.load_state_dict(copy.deepcopy(strategy.state_dict()))
    free.importance.zero_()
    task = r.stream.experience(3)
    for s in (strategy, free):
        s.begin(task)
        s.step(whole(task))
    assert not torch.allclose(free.weights, strategy.weights)
    moved = (strategy.weights - free.weights) / (0.1 / (1 - momentum))
    pull = penalty_gradient(strategy, strategy.weights)
    torch.testing.assert_close(moved, -pull, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_explicit_step_has_the_penalty_in_the_gradient(name: str):
    r, strategy = learnt(
        name, 2, "strategy.penalty_step=explicit", "strategy.lam=0.5", "strategy.clip_norm=null"
    )
    task = r.stream.experience(2)
    strategy.begin(task)
    strategy.weights.add_(0.01)
    before, slope = strategy.weights.clone(), strategy.gradient(whole(task))
    pull = penalty_gradient(strategy, before)
    assert float(pull.abs().max()) > 1e-4
    strategy.step(whole(task))
    torch.testing.assert_close(
        strategy.weights, before - 0.1 * (slope + pull), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", SCALED)
def test_without_strength_it_is_naive(name: str):
    r, strategy = learnt(name, 3, "strategy.lam=0")
    plain = run("strategy=naive", "scenario=scole", "scenario.n_tasks=20").strategy().double()
    for t in range(3):
        plain.learn(r.stream.experience(t))
    assert torch.equal(strategy.weights, plain.weights)
    assert (strategy.importance >= 0).all()
    assert float(strategy.importance.max()) > 0  # found all the same
    assert torch.equal(strategy.anchor, strategy.weights)


@pytest.mark.parametrize("name", SCALED)
def test_a_stronger_penalty_stays_closer(name: str):
    """In the metric of the importances."""

    def drift(lam: float) -> float:
        r, strategy = built(name, "strategy.lam=0")
        strategy.learn(r.stream.experience(0))
        held = built(name, f"strategy.lam={lam}")[1]
        held.load_state_dict(strategy.state_dict())
        at, importance = strategy.weights.clone(), strategy.importance.clone()
        held.learn(r.stream.experience(1))
        return float((importance * (held.weights - at).square()).sum())

    distances = [drift(lam) for lam in (0, 1, 100, 1e6)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < distances[0] / 100


@pytest.mark.parametrize("name", NAMES)
def test_the_trace_is_the_fall_of_the_loss(name: str):
    """To first order: -g.(move) of a small step is L(before) - L(after), with any pull on it."""
    r, strategy = learnt(name, 2, "strategy.lr=1e-5")
    strategy.weights.add_(0.1 * torch.sin(torch.arange(len(strategy.weights)).double()))
    task = r.stream.experience(2)
    strategy.begin(task)
    with torch.no_grad():
        before = strategy.loss(whole(task))
    trace = strategy.descend_traced(strategy.gradient(whole(task)))
    with torch.no_grad():
        after = strategy.loss(whole(task))
    assert float(trace.sum()) == pytest.approx(float(before - after), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_stiffness_and_its_warning(name: str):
    r, strategy = learnt(name, 2, "strategy.lam=7", "strategy.momentum=0.5", "strategy.lr=0.02")
    wanted = 0.02 / 0.5 * strategy.strength * float(strategy.importance.max())
    found = float(strategy.diagnostics()["stiffness"])
    assert found == pytest.approx(wanted)
    rebuilt = r.strategy().double()
    rebuilt.load_state_dict(strategy.state_dict())
    assert float(rebuilt.diagnostics()["stiffness"]) == found
    explicit = built(name, "strategy.penalty_step=explicit")[1]
    assert strategy.warning({"stiffness": 5.0}) is None
    assert explicit.warning({"stiffness": 0.5}) is None
    assert "diverges" in explicit.warning({"stiffness": 1.5})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "words",
    [
        ("strategy.lam=-1",),
        ("strategy.lam=inf",),
        ("strategy.optimizer=adam", "strategy.penalty_step=proximal"),
    ],
)
def test_refusals(name: str, words: tuple[str, ...]):
    with pytest.raises(UsageError) as caught:
        built(name, *words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_the_step_is_proximal_with_sgd_and_explicit_with_others(name: str):
    for more, same_as in (
        ((), "proximal"),
        (("strategy.optimizer=adam",), "explicit"),
    ):
        by_default = learnt(name, 2, *more)
        named = learnt(name, 2, *more, f"strategy.penalty_step={same_as}")
        assert torch.equal(by_default[1].weights, named[1].weights)
