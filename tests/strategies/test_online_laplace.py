"""Online Laplace against exact Bayesian inference, batch Laplace and EWC."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from small import run
from torch import Tensor

from clbench import fisher
from clbench.errors import UsageError
from clbench.stream import TaskData

SCOLE = ("scenario=scole", "scenario.n_tasks=20")
TO_THE_MODE = ("strategy.batch_size=1000", "strategy.clip_norm=null")


def laplace(*words: str) -> tuple[Any, Any]:
    r = run("strategy=online_laplace", *SCOLE, *words)
    return r, r.strategy().double()


def test_gaussian_likelihoods_give_the_exact_posterior_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
):
    """Laplace is then exact: at the end stands the posterior of all data at once.

    Task t: N_t observations of mean y_t from N(w, 1/h_t), with h_t diagonal.
    """
    sizes = (5, 20, 11)
    at = torch.arange(92).double()
    h = [1 + (at + t) % 3 for t in range(3)]
    y = [torch.sin(at * (t + 1)) for t in range(3)]
    precision = 3 + sum(n * a for n, a in zip(sizes, h, strict=True))
    mean = sum(n * a * b for n, a, b in zip(sizes, h, y, strict=True)) / precision
    for order in ((0, 1, 2), (2, 0, 1)):
        strategy = laplace(
            *TO_THE_MODE, "strategy.prior_precision=3", "strategy.lr=0.1", "strategy.epochs=200"
        )[1]
        for t in order:
            learn_weights(strategy, monkeypatch, sizes[t], partial(squares, h[t], y[t]), h[t])
        torch.testing.assert_close(strategy.importance, precision)
        torch.testing.assert_close(strategy.anchor, mean, rtol=0, atol=1e-6)


def squares(h: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return (h * (w - y).square()).sum() / 2


def logistic(share: Tensor, w: Tensor) -> Tensor:
    return (torch.nn.functional.softplus(w) - share * w).sum()


def learn_weights(
    strategy: Any,
    monkeypatch: pytest.MonkeyPatch,
    n: int,
    loss: Callable[[Tensor], Tensor],
    curvature: Tensor | None = None,
) -> None:
    """A task of n samples whose mean loss is a function of the weights alone."""

    def fisher_of_it(*_: object, **__: object) -> dict[str, Tensor]:
        p = strategy.weights.sigmoid()
        return {"w": p * (1 - p) if curvature is None else curvature}

    strategy.loss = lambda _: loss(torch.cat([p.reshape(-1) for p in strategy.model.parameters()]))
    monkeypatch.setattr(fisher, "estimate", fisher_of_it)
    labels = torch.zeros(n, dtype=torch.int64)
    strategy.learn(TaskData(torch.zeros(n, 6), labels, labels))


def log_posterior_gradient(strategy: Any, tasks: list[TaskData], prior: float) -> Tensor:
    """By autograd, of the *sum* of log likelihoods and the log prior N(0, 1/prior)."""
    params = list(strategy.model.parameters())
    total = sum(
        -torch.nn.functional.cross_entropy(strategy.model(t.x), t.y, reduction="sum") for t in tasks
    ) - prior / 2 * sum(p.square().sum() for p in params)
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(total, params)])  # type: ignore[arg-type]


def test_the_first_task_ends_at_the_mode_of_its_posterior():
    """Logistic regression, whose log posterior is concave: its gradient is zero at the MAP alone."""
    r, strategy = laplace(
        "model=linear", *TO_THE_MODE, "strategy.prior_precision=2", "strategy.lr=0.5",
        "strategy.epochs=500",
    )  # fmt: skip
    task = r.stream.experience(0)
    strategy.learn(task)
    gradient = log_posterior_gradient(strategy, [task], prior=2.0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-7)


def test_precision_is_the_prior_and_the_sum_over_samples_of_the_curvature():
    """For logistic regression the Fisher is minus the Hessian of the log likelihood."""
    r, strategy = laplace("model=linear", "strategy.prior_precision=2")
    wanted = torch.full_like(strategy.weights, 2.0)
    for t in range(2):
        task = r.stream.experience(t)
        strategy.learn(task)
        p, x = strategy(task.x).softmax(1).detach(), task.x.double()
        weight = torch.einsum("nc,nj->cj", p * (1 - p), x.square())
        wanted = wanted + torch.cat([weight.reshape(-1), (p * (1 - p)).sum(0)])
        torch.testing.assert_close(strategy.importance, wanted, rtol=1e-9, atol=1e-12)
        assert torch.equal(strategy.anchor, strategy.weights)


def test_two_batches_give_the_posterior_of_both_to_second_order(monkeypatch: pytest.MonkeyPatch):
    """Every weight is a logistic regression on its own: a share of N answers is yes.

    The third derivative of its likelihood is 0 at 0, so what Laplace misses is of third order in
    the weights: doubling the surplus of yes doubles the weights and makes the gap eight times as
    large.
    """
    n, gaps = 20, []
    at = torch.arange(92).double()
    for surplus in (0.02, 0.04):
        one, other = (0.5 + surplus * (1 + torch.cos(at + t)) for t in range(2))
        modes = []
        for tasks in ([(n, one), (n, other)], [(2 * n, (one + other) / 2)]):
            strategy = laplace(
                *TO_THE_MODE, "strategy.prior_precision=5", "strategy.lr=1", "strategy.epochs=120"
            )[1]
            for size, share in tasks:
                learn_weights(strategy, monkeypatch, size, partial(logistic, share))
            modes.append(strategy.weights)
        gaps.append(float((modes[0] - modes[1]).abs().max()))
        assert gaps[-1] < 0.02 * float(modes[1].abs().max())
    assert 7 < gaps[1] / gaps[0] < 9


@pytest.mark.parametrize("lam", [0, 1, 30])
def test_equal_tasks_and_no_prior_make_it_online_ewc(lam: float):
    words = (f"strategy.lam={lam}",)
    r, strategy = laplace("strategy.prior_precision=0", *words)
    same = run("strategy=ewc", *SCOLE, *words)
    ewc: Any = same.strategy().double()
    for t in range(5):
        task = r.stream.experience(t)
        assert len(task) == 24
        strategy.learn(task)
        ewc.learn(same.stream.experience(t))
        torch.testing.assert_close(strategy.weights, ewc.weights, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        strategy.importance / 24, lam * ewc.importance, rtol=1e-9, atol=1e-15
    )


def test_a_fisher_of_some_samples_counts_for_all():
    r, strategy = laplace("strategy.prior_precision=0", "strategy.fisher_samples=5")
    task = r.stream.experience(0)
    strategy.learn(task)
    found = fisher.estimate(strategy.model, task.x[:5])
    wanted = 24 * torch.cat([f.reshape(-1) for f in found.values()])
    torch.testing.assert_close(strategy.importance, wanted)


def test_the_strength_follows_the_size_of_the_task():
    r, strategy = laplace()
    task = r.stream.experience(0)
    for n in (24, 6):
        strategy.begin(TaskData(task.x[:n], task.y[:n], task.key[:n]))
        assert strategy.strength == 1 / n


@pytest.mark.parametrize(
    "word",
    ["strategy.prior_precision=-1", "strategy.prior_precision=inf", "strategy.fisher_samples=0"],
)
def test_refusals(word: str):
    with pytest.raises(UsageError) as caught:
        laplace(word)
    assert "\n" not in str(caught.value)
