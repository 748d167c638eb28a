"""RWalk against the recursions it writes down, and its Fisher against the estimator's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import go, run
from torch import Tensor

from clbench import fisher
from clbench.errors import UsageError

LONG = ("strategy=rwalk", "scenario=scole", "scenario.n_tasks=20")


def rwalk(*words: str) -> tuple[Any, Any]:
    r = run(*LONG, *words)
    return r, r.strategy().double()


def spied(strategy: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each later step: the gradient of the loss, the weights before and after it."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    gradient, step = strategy.gradient, strategy.step

    def watched_gradient(batch: object) -> Tensor:
        g: Tensor = gradient(batch)
        seen.append((g.clone(), strategy.weights.clone(), g))
        return g

    def watched_step(batch: object) -> None:
        step(batch)
        seen[-1] = (*seen[-1][:2], strategy.weights.clone())

    strategy.gradient, strategy.step = watched_gradient, watched_step
    return seen


@pytest.mark.parametrize("window", [1, 3, 100])
def test_recursions(window: int):
    """Fisher, windows, the last one shorter, halves of the score, and division by the largest."""
    words = ("strategy.batch_size=5", "strategy.alpha=0.3", "strategy.epsilon=1e-3")
    r, strategy = rwalk(*words, f"strategy.window={window}", "strategy.momentum=0.5")
    seen = spied(strategy)
    f = torch.zeros_like(strategy.weights)
    score = None
    for t in range(3):
        seen.clear()
        strategy.learn(r.stream.experience(t))
        assert len(seen) == 5  # 24 samples
        new = torch.zeros_like(f)
        for start in range(0, len(seen), window):
            part = seen[start : start + window]
            for g, _, _ in part:
                f = 0.3 * g.square() + 0.7 * f
            fall = -torch.stack([g * (after - before) for g, before, after in part]).sum(0)
            distance = part[-1][2] - part[0][1]
            new = new + fall / (f * distance.square() / 2 + 1e-3)
        new = torch.where(new > 0, new, 0.0)
        score = new if score is None else (score + new) / 2
        wanted = f / f.max() + score / score.max()
        torch.testing.assert_close(strategy.fisher, f, rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(strategy.importance, wanted, rtol=1e-9, atol=1e-12)
        assert torch.equal(strategy.anchor, strategy.weights)


def test_without_the_score_and_memory_it_is_ewc_with_a_batched_fisher():
    """One batch a task and alpha = 1: online EWC with gamma = 0.

    F is that of the weights before the step, divided by its largest.
    """
    r, strategy = rwalk("strategy.score=false", "strategy.alpha=1", "strategy.batch_size=99")
    for t in range(3):
        task = r.stream.experience(t)
        found = fisher.estimate(strategy.model, task.x, task.y, "batched", batch_size=99)
        wanted = torch.cat([part.reshape(-1) for part in found.values()])
        strategy.learn(task)
        torch.testing.assert_close(strategy.importance, wanted / wanted.max())


def test_importances_are_bounded_however_long_the_stream():
    r = run("strategy=rwalk", "scenario=scole", "scenario.n_tasks=150", "eval_every=150")
    strategy: Any = go(r)[0]
    assert 0 < float(strategy.importance.max()) <= 2
    assert float(strategy.importance.min()) >= 0
    assert float(strategy.diagnostics()["stiffness"]) <= 2 * 0.1 * strategy.config.lam


@pytest.mark.parametrize(
    "word",
    ["strategy.alpha=0", "strategy.alpha=1.1", "strategy.window=0", "strategy.epsilon=0"],
)
def test_refusals(word: str):
    with pytest.raises(UsageError) as caught:
        rwalk(word)
    assert "\n" not in str(caught.value)
