"""MAS against closed forms and gradients taken one sample at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import pool, run
from torch import Tensor

from clbench.errors import UsageError
from clbench.fisher import layers as fisher_layers

LONG = ("strategy=mas", "scenario=scole", "scenario.n_tasks=20")


def mas(*words: str, shape: tuple[int, ...] = (6,)) -> tuple[Any, Any]:
    r = run(*LONG, *words, on=pool(n_train=6, shape=shape))
    return r, r.strategy().double()


def one_by_one(strategy: Any, x: Tensor, size: int = 1) -> Tensor:
    """Mean over batches of |gradient of the mean ||f||^2|, by plain autograd."""
    strategy.model.eval()
    found = []
    for part in x.split(size):
        norm = strategy.model(part).square().sum() / len(part)
        parts = torch.autograd.grad(norm, list(strategy.model.parameters()))
        found.append(torch.cat([p.reshape(-1) for p in parts]).abs())
    return torch.stack(found).mean(0)


def test_linear_model():
    """With f = Wx + b: |d||f||^2 / dW_cj| = 2 |f_c| |x_j|, and 2 |f_c| for b_c."""
    r, strategy = mas("model=linear")
    task = r.stream.experience(0)
    strategy.learn(task)
    f = strategy(task.x).detach().abs()
    x = task.x.double().abs()
    weight = 2 * torch.einsum("nc,nj->ncj", f, x).mean(0)
    wanted = torch.cat([weight.reshape(-1), 2 * f.mean(0)])
    torch.testing.assert_close(strategy.importance, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "shape"), [("mlp", (6,)), ("scole_cnn", (28, 28)), ("slim_resnet18", (3, 32, 32))]
)
def test_per_sample_is_one_sample_at_a_time(model: str, shape: tuple[int, ...]):
    r, strategy = mas(f"model={model}", "strategy.samples=6", shape=shape)
    task = r.stream.experience(0)
    strategy.learn(task)
    assert strategy.model.training
    wanted = one_by_one(strategy, task.x[:6])
    torch.testing.assert_close(strategy.importance, wanted, rtol=1e-7, atol=1e-10)


def test_layers_without_a_formula_give_the_same(monkeypatch: pytest.MonkeyPatch):
    """The slow way, one vector-Jacobian product a sample, takes absolute values as well."""
    found = []
    for known in (fisher_layers.WITH_FORMULA, ()):
        monkeypatch.setattr(fisher_layers, "WITH_FORMULA", known)
        r, strategy = mas()
        strategy.learn(r.stream.experience(0))
        found.append(strategy.importance)
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_batched_is_one_batch_at_a_time_and_smaller():
    """Mean of absolute values >= absolute value of the mean; equal for batches of one."""
    found = {}
    for estimator, size in (("per_sample", 1), ("batched", 1), ("batched", 4)):
        r, strategy = mas(f"strategy.estimator={estimator}", f"strategy.batch_size={size}")
        strategy.learn(r.stream.experience(0))
        x = r.stream.experience(0).x
        found[estimator, size] = strategy.importance
        wanted = one_by_one(strategy, x, size)
        torch.testing.assert_close(strategy.importance, wanted, rtol=1e-9, atol=1e-12)
        if size == 4:
            upper = one_by_one(strategy, x, 1)
            assert (strategy.importance <= upper + 1e-12).all()
            assert float(strategy.importance.sum()) < 0.99 * float(upper.sum())
    torch.testing.assert_close(found["batched", 1], found["per_sample", 1])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_recursion(gamma: float):
    r, strategy = mas(f"strategy.gamma={gamma}", "strategy.lam=0.01")
    wanted = torch.zeros_like(strategy.weights)
    for t in range(4):
        task = r.stream.experience(t)
        strategy.learn(task)
        wanted = gamma * wanted + one_by_one(strategy, task.x)
    torch.testing.assert_close(strategy.importance, wanted, rtol=1e-9, atol=1e-12)
    assert torch.equal(strategy.anchor, strategy.weights)


def test_labels_take_no_part_in_the_importance():
    r, strategy = mas()
    task = r.stream.experience(0)
    strategy.consolidate(task)
    first = strategy.importance.clone()
    strategy.importance.zero_()
    strategy.consolidate(type(task)(task.x, torch.full_like(task.y, -1), task.key))
    assert torch.equal(strategy.importance, first)


@pytest.mark.parametrize("estimator", ["per_sample", "batched"])
def test_only_the_tasks_own_scores_count_where_tasks_are_told(estimator: str):
    r = run(
        "strategy=mas",
        "scenario=task_incremental",
        "scenario.n_tasks=2",
        f"strategy.estimator={estimator}",
    )
    strategy: Any = r.strategy()
    task = r.stream.experience(0)
    strategy.learn(task)
    bias = strategy.per_parameter(strategy.importance)[-1]
    mine = torch.zeros(4, dtype=torch.bool)
    mine[task.classes] = True
    assert (bias[mine] > 0).all()
    assert (bias[~mine] == 0).all()


@pytest.mark.parametrize("word", ["strategy.samples=0", "strategy.gamma=-0.1"])
def test_refusals(word: str):
    with pytest.raises(UsageError) as caught:
        mas(word)
    assert "\n" not in str(caught.value)
