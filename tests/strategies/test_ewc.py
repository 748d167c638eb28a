"""EWC against the equations it writes down."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from small import go, pool, run
from torch import Tensor

from clbench import fisher
from clbench.engine.build import Run
from clbench.errors import UsageError
from clbench.strategy import Batch

LONG = ("strategy=ewc", "scenario=scole", "scenario.n_tasks=20")


def ewc(*words: str) -> tuple[Run, Any]:
    r = run(*LONG, *words)
    return r, r.strategy().double()


def learnt(r: Run, strategy: Any, n: int) -> list[tuple[Tensor, Tensor]]:
    """Learn n tasks; after each its own Fisher, estimated here, and the weights it ended with."""
    history = []
    for t in range(n):
        task = r.stream.experience(t)
        strategy.learn(task)
        found = fisher.estimate(strategy.model, task.x)
        history.append(
            (torch.cat([f.reshape(-1) for f in found.values()]), strategy.weights.clone())
        )
    return history


def penalty_gradient(history: list[tuple[Tensor, Tensor]], at: Tensor, lam: float) -> Tensor:
    """Of lam/2 sum_t sum_i F_ti (w_i - a_ti)^2, one task after another."""
    at = at.clone().requires_grad_()
    total = sum(lam / 2 * (f * (at - a).square()).sum() for f, a in history)
    return torch.autograd.grad(total, at)[0]  # type: ignore[arg-type]


def test_separate_is_the_sum_of_one_penalty_for_each_task():
    r, strategy = ewc("strategy.mode=separate", "strategy.lam=3")
    history = learnt(r, strategy, 20)
    for shift in (0.0, 0.1, -1.0):
        at = strategy.weights + shift * torch.sin(torch.arange(len(strategy.weights)).double())
        ours = 3 * strategy.importance * (at - strategy.anchor)
        torch.testing.assert_close(ours, penalty_gradient(history, at, 3.0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_online_recursion(gamma: float):
    """F <- gamma F + F_t, once a task, anchored at the newest weights."""
    r, strategy = ewc(f"strategy.gamma={gamma}")
    history = learnt(r, strategy, 6)
    wanted = torch.zeros_like(strategy.importance)
    for new, _ in history:
        wanted = gamma * wanted + new
    torch.testing.assert_close(strategy.importance, wanted, rtol=1e-9, atol=1e-15)
    assert torch.equal(strategy.anchor, history[-1][1])


def test_fisher_samples_are_the_first_of_the_task():
    r, strategy = ewc("strategy.fisher_samples=5")
    task = r.stream.experience(0)
    strategy.learn(task)
    found = fisher.estimate(strategy.model, task.x[:5])
    wanted = torch.cat([f.reshape(-1) for f in found.values()])
    torch.testing.assert_close(strategy.importance, wanted)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_proximal_step_is_the_minimum_of_penalty_plus_distance(momentum: float):
    """W = argmin 1/(2 lr') |w - v|^2 + lam/2 F (w - a)^2, v the weights after the plain step."""
    r, strategy = ewc("strategy.lam=30", f"strategy.momentum={momentum}")
    plain = run(*LONG, f"strategy.momentum={momentum}", "strategy.lam=0").strategy().double()
    learnt(r, strategy, 3)
    plain.load_state_dict(copy.deepcopy(strategy.state_dict()))
    task = r.stream.experience(3)
    batch = Batch(task.x, task.y, None, task.classes)
    for s in (strategy, plain):
        s.begin(task)
        s.step(batch)
    v, w, a, f = plain.weights, strategy.weights, strategy.anchor, strategy.importance
    lr = 0.1 / (1 - momentum)
    assert not torch.allclose(v, w)
    stationary = (w - v) / lr + 30 * f * (w - a)
    torch.testing.assert_close(stationary, torch.zeros_like(w), rtol=0, atol=1e-12)


def test_explicit_step_has_the_penalty_in_the_gradient():
    r, strategy = ewc("strategy.penalty_step=explicit", "strategy.lam=5", "strategy.clip_norm=null")
    learnt(r, strategy, 2)
    task = r.stream.experience(2)
    batch = Batch(task.x, task.y, None, task.classes)
    with torch.no_grad():
        strategy.weights.add_(0.01)
    w, total = strategy.weights.clone(), strategy.gradient(batch)
    total = total + 5 * strategy.importance * (w - strategy.anchor)
    strategy.step(batch)
    torch.testing.assert_close(strategy.weights, w - 0.1 * total, rtol=1e-12, atol=1e-12)


def penalty(strategy: Any) -> float:
    return float((strategy.importance * (strategy.weights - strategy.anchor).square()).sum())


@pytest.mark.parametrize("mode", ["online", "separate"])
@pytest.mark.parametrize("step", ["proximal", "explicit"])
def test_the_penalty_pulls_from_the_first_step_of_the_second_task(mode: str, step: str):
    r, strategy = ewc(f"strategy.mode={mode}", f"strategy.penalty_step={step}", "strategy.lam=10")
    assert penalty(strategy) == 0
    strategy.learn(r.stream.experience(0))
    assert penalty(strategy) == 0
    task = r.stream.experience(1)
    strategy.begin(task)
    strategy.step(Batch(task.x, task.y, None, task.classes))
    assert penalty(strategy) > 0


def test_a_stronger_penalty_stays_closer():
    def drift(lam: float) -> float:
        r, strategy = ewc(f"strategy.lam={lam}")
        strategy.learn(r.stream.experience(0))
        at, f = strategy.weights.clone(), strategy.importance.clone()
        strategy.learn(r.stream.experience(1))
        return float((f * (strategy.weights - at).square()).sum())

    distances = [drift(lam) for lam in (0, 1, 100, 10_000)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < distances[0] / 100


def test_before_any_fisher_ewc_is_naive_and_anchors_at_the_current_weights():
    r, strategy = ewc("strategy.lam=1000")
    plain = run("strategy=naive", *LONG[1:]).strategy().double()
    for s in (strategy, plain):
        s.learn(r.stream.experience(0))
    assert torch.equal(strategy.weights, plain.weights)


@pytest.mark.parametrize("mode", ["online", "separate"])
def test_where_no_task_needs_a_weight_the_anchor_follows_it(
    mode: str, monkeypatch: pytest.MonkeyPatch
):
    """Dead inputs have F = 0 for ever; their anchor is wherever they are."""
    r, strategy = ewc(f"strategy.mode={mode}")
    n = len(strategy.weights)
    half = (torch.arange(n) % 2).double()
    module = inspect.unwrap(type(strategy).consolidate).__globals__
    monkeypatch.setitem(module, "task_fisher", lambda *_: half)
    for t in range(3):
        strategy.learn(r.stream.experience(t))
    idle = torch.arange(n) % 2 == 0
    assert (strategy.importance[idle] == 0).all()
    assert torch.equal(strategy.anchor[idle], strategy.weights[idle])
    if mode == "separate":
        assert not torch.equal(strategy.anchor[~idle], strategy.weights[~idle])
    assert torch.isfinite(strategy.anchor).all()


def test_fisher_is_of_the_masked_logits_where_tasks_are_told():
    """Weights to the classes of other tasks get no Fisher, since the loss does not see them."""
    r = run("strategy=ewc", "scenario=task_incremental", "scenario.n_tasks=2")
    strategy: Any = r.strategy()
    task = r.stream.experience(0)
    strategy.learn(task)
    head = strategy.per_parameter(strategy.importance)[-1]
    assert task.classes is not None
    mine = torch.zeros(4, dtype=torch.bool)
    mine[task.classes] = True
    assert (head[mine] > 0).all()
    assert (head[~mine] == 0).all()


@pytest.mark.parametrize("scope", ["batch", "task"])
@pytest.mark.parametrize("more", [(), ("scenario.chunk=8",)])
def test_fisher_is_that_of_the_loss_over_the_tasks_classes_alone(scope: str, more: tuple[str, ...]):
    """With mask=group: against a network that has no outputs for the other classes."""
    r, strategy = ewc("strategy.mask=group", f"strategy.mask_scope={scope}", *more)
    task = r.stream.experience(0)
    strategy.learn(task)
    mine = task.y.unique()
    assert 1 < len(mine) < 4
    restricted = torch.nn.Sequential(*copy.deepcopy(strategy.model))
    head = restricted[-1]
    head.weight, head.bias = (torch.nn.Parameter(p.detach()[mine]) for p in head.parameters())
    found = [part.clone() for part in strategy.per_parameter(strategy.importance)]
    others = torch.ones(4, dtype=torch.bool)
    others[mine] = False
    assert (found[-2][others] == 0).all()
    assert (found[-1][others] == 0).all()
    found[-2:] = [part[mine] for part in found[-2:]]
    wanted = fisher.estimate(restricted, task.x).values()
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-14)


def test_stiffness_is_lr_lambda_f_max():
    r, strategy = ewc("strategy.lam=7", "strategy.momentum=0.5", "strategy.lr=0.02")
    learnt(r, strategy, 2)
    wanted = 0.02 / 0.5 * 7 * float(strategy.importance.max())
    assert float(strategy.diagnostics()["stiffness"]) == pytest.approx(wanted)


def test_the_explicit_step_fails_on_a_long_stream_where_the_proximal_does_not():
    """The same gamma = 1, lam = 10: F grows until lr lam max(F) > 2 (blobs: within 150 tasks)."""
    found = {}
    for step in ("proximal", "explicit"):
        r = run(
            "strategy=ewc",
            "scenario=scole",
            "scenario.n_tasks=300",
            "strategy.lam=10",
            f"strategy.penalty_step={step}",
            "eval_every=100",
            on=pool(n_classes=6, n_train=30),
        )
        _, outcome = go(r)
        assert outcome.error is None
        found[step] = outcome.ledger
    stiffness = found["explicit"].diagnostics["stiffness"][-1]
    assert stiffness is not None
    assert stiffness > 2
    assert found["explicit"].world_accuracy[-1] < found["proximal"].world_accuracy[-1] - 0.1


@pytest.mark.parametrize(
    "words",
    [
        ("strategy.mode=separate", "strategy.gamma=0.9"),
        ("strategy.optimizer=adam", "strategy.penalty_step=proximal"),
        ("strategy.mask=single",),
        ("strategy.gamma=-0.1",),
        ("strategy.lam=-1",),
        ("strategy.fisher_samples=0",),
    ],
)
def test_refusals(words: tuple[str, ...]):
    with pytest.raises(UsageError) as caught:
        run(*LONG, *words)
    assert "\n" not in str(caught.value)
