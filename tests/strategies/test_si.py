"""SI against the path integral it writes down and the loss it accounts for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import run
from torch import Tensor

from clbench.errors import UsageError
from clbench.strategy import Batch

MOMENTUM = ("strategy.momentum=0.9", "strategy.lr=0.05", "strategy.batch_size=3")
"""Plain SGD only ever descends, so that every path is positive."""
LONG = ("strategy=si", "scenario=scole", "scenario.n_tasks=20")


def si(*words: str) -> tuple[Any, Any]:
    r = run(*LONG, *words)
    return r, r.strategy().double()


def on_a_bowl(strategy: Any, curvature: Tensor, centre: Tensor) -> None:
    """Lets it learn sum_i h_i (w_i - c_i)^2 / 2 whatever the batch."""

    def loss(_: object) -> Tensor:
        # Through the parameters, which is how the engine differentiates.
        w = torch.cat([p.reshape(-1) for p in strategy.model.parameters()])
        return (curvature * (w - centre).square()).sum() / 2

    strategy.loss = loss


@pytest.mark.parametrize("lr", [0.02, 0.05])
def test_on_a_diagonal_bowl_the_importance_is_half_the_curvature(lr: float):
    """The paper's section 3.2: at the bottom of sum h (w - c)^2 / 2 and for xi -> 0 it is h / 2.

    That is for gradient flow; steps of size lr make a geometric series, p / D^2 = h / (2 - lr h).
    """
    # Enough steps for the flattest direction, h = 5, to be at the bottom.
    epochs = int(4 / lr)
    r, strategy = si(
        f"strategy.lr={lr}",
        f"strategy.epochs={epochs}",
        "strategy.batch_size=99",
        "strategy.xi=1e-9",
    )
    h = 5 + torch.arange(len(strategy.weights)).double() % 7
    centre = strategy.weights.double() + torch.where(h > 8, 0.01, -0.02)
    on_a_bowl(strategy, h, centre)
    strategy.learn(r.stream.experience(0))
    torch.testing.assert_close(strategy.weights, centre, rtol=0, atol=1e-7)
    torch.testing.assert_close(strategy.importance, h / (2 - lr * h), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("strategy.momentum=0.5",),
        ("strategy.clip_norm=0.05",),
        ("strategy.optimizer=adam", "strategy.penalty_step=explicit"),
        ("strategy.lam=1000",),
    ],
)
def test_the_paths_add_up_to_the_fall_of_the_loss(words: tuple[str, ...]):
    """Whatever moves the weights: momentum, clipping, another optimizer, the penalty."""
    r, strategy = si("strategy.lr=1e-3", "strategy.epochs=150", "strategy.batch_size=1000", *words)
    strategy.learn(r.stream.experience(0))
    task = r.stream.experience(1)

    def whole() -> float:
        with torch.no_grad():
            return float(strategy.loss(Batch(task.x, task.y)))

    before = whole()
    strategy.learn(task)
    assert before - whole() > 1e-3
    assert float(strategy.path.sum()) == pytest.approx(before - whole(), rel=0.02)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_recursion(gamma: float):
    """I <- gamma I + max(p, 0) / (D^2 + xi), anchored at the newest weights."""
    r, strategy = si(f"strategy.gamma={gamma}", "strategy.xi=0.02", *MOMENTUM)
    wanted = torch.zeros_like(strategy.weights)
    negative = 0
    for t in range(5):
        start = strategy.weights.clone()
        strategy.learn(r.stream.experience(t))
        assert torch.equal(strategy.anchor, strategy.weights)
        path = strategy.path
        negative += int((path < 0).sum())
        new = torch.where(path > 0, path, 0.0) / ((strategy.weights - start) ** 2 + 0.02)
        wanted = gamma * wanted + new
        torch.testing.assert_close(strategy.importance, wanted, rtol=1e-12, atol=1e-15)
    assert negative > 0


def test_the_path_is_no_part_of_what_is_remembered():
    """Weights, importance and anchor: three vectors (and the loss)."""
    _, strategy = si()
    names = {name for name in strategy.state_dict() if not name.startswith("model.")}
    assert names == {"importance", "anchor", "mean_loss", "_extra_state"}


@pytest.mark.parametrize("word", ["strategy.xi=0", "strategy.xi=inf", "strategy.gamma=1.1"])
def test_refusals(word: str):
    with pytest.raises(UsageError) as caught:
        si(word)
    assert "\n" not in str(caught.value)
