"""LwF against torch's own Kullback-Leibler divergence, head by head."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small import go, pool, run
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.plugins.registry import find
from clbench.strategy import Batch

lwf: Any = sys.modules[find("strategy", "lwf").load().__module__]


def by_torch(scores: Tensor, taught: Tensor, heads: Tensor) -> Tensor:
    """KL of each head's softmax, plus the teacher's entropy: the cross-entropy."""
    total = scores.new_zeros(())
    for head in heads:
        if not head.any():
            continue
        p, q = scores[:, head].log_softmax(1), taught[:, head].softmax(1)
        entropy = -(q * q.log()).sum(1).mean()
        total = total + F.kl_div(p, q, reduction="batchmean") + entropy
    return total


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 7)),
    scale=st.floats(0.1, 20.0),
)
def test_distillation_is_the_sum_of_the_heads_cross_entropies(
    seed: int, size: tuple[int, int, int], scale: float
) -> None:
    (b, h, c), generator = size, torch.Generator().manual_seed(seed)
    scores, taught = (
        (scale * torch.randn(b, c, generator=generator, dtype=torch.float64)) for _ in range(2)
    )
    heads = torch.rand(h, c, generator=generator) < 0.5  # overlapping and empty ones too
    scores.requires_grad_()
    ours = lwf.distillation(scores, taught, heads)
    wanted = by_torch(scores, taught, heads)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)
    if heads.any():
        pair = [torch.autograd.grad(value, scores)[0] for value in (ours, wanted)]
        torch.testing.assert_close(*pair, rtol=1e-9, atol=1e-9)


def test_with_nothing_old_it_is_nothing_and_stays_finite():
    scores = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    none = torch.zeros(2, 3, dtype=torch.bool)
    loss = lwf.distillation(scores, scores.detach(), none)
    assert float(loss.detach()) == 0
    assert (torch.autograd.grad(loss, scores)[0] == 0).all()
    far = torch.tensor([[False, True, False]])  # a head 20,000 below another is lost, and finite
    assert torch.isfinite(lwf.distillation(scores, scores.detach(), far))


def whole(task: Any) -> Batch:
    return Batch(task.x, task.y, task.task_id, task.classes)


@pytest.mark.parametrize("scenario", ["scole", "class_incremental", "task_incremental"])
def test_loss_is_that_of_the_docstring(scenario: str):
    r = run(
        "strategy=lwf",
        f"scenario={scenario}",
        "scenario.n_tasks=2",
        "strategy.alpha=0.7",
        "strategy.temperature=3",
    )
    strategy: Any = r.strategy().double()
    first, task = r.stream.experience(0), r.stream.experience(1)
    strategy.learn(first)
    teacher = {name: p.clone() for name, p in strategy.model.state_dict().items()}
    if task.task_id is not None:
        strategy.classes_of_task[1, task.classes] = True
    strategy.begin(task)
    strategy.weights.add_(0.1 * torch.cos(torch.arange(len(strategy.weights)).double()))
    taught = torch.func.functional_call(strategy.model, teacher, (task.x,))
    scores = strategy.model(task.x)
    old = torch.zeros(1, 4, dtype=torch.bool)
    old[0, first.y.unique()] = True
    assert int(old.sum()) == 2
    mine = torch.ones(4, dtype=torch.bool) if task.task_id is None else ~old[0]
    masked = scores.masked_fill(~mine, -torch.inf)
    wanted = F.cross_entropy(masked, task.y) + 0.7 * by_torch(scores / 3, taught / 3, old)
    torch.testing.assert_close(strategy.loss(whole(task)), wanted, rtol=1e-9, atol=1e-9)


def test_the_first_task_is_naives():
    mine, plain = (
        run(f"strategy={name}", "scenario=class_incremental", "scenario.n_tasks=2")
        for name in ("lwf", "naive")
    )
    ours, its = mine.strategy(), plain.strategy()
    for s, r in ((ours, mine), (its, plain)):
        s.learn(r.stream.experience(0))
    torch.testing.assert_close(ours.weights, its.weights)  # type: ignore[attr-defined]


def test_old_are_the_classes_of_earlier_experiences():
    r = run("strategy=lwf", "scenario=scole", "scenario.n_tasks=6", "scenario.chunk=7")
    strategy: Any = r.strategy()
    seen: set[int] = set()
    for t in range(4):
        task = r.stream.experience(t)
        strategy.learn(task)
        seen |= set(task.y.tolist())
        assert set(strategy.old_heads[0].nonzero().flatten().tolist()) == seen
    unlabelled = type(task)(task.x, torch.full_like(task.y, -1), task.key)
    before = strategy.old_heads.clone()
    strategy.consolidate(unlabelled)
    assert torch.equal(strategy.old_heads, before)


def test_the_teacher_is_the_network_at_the_start_norm_statistics_included():
    r = run(
        "strategy=lwf",
        "scenario=class_incremental",
        "scenario.n_tasks=2",
        "model=slim_resnet18",
        on=pool(n_train=4, shape=(3, 32, 32)),
    )
    strategy: Any = r.strategy()
    for t in range(2):
        before = {name: value.clone() for name, value in strategy.model.state_dict().items()}
        strategy.learn(r.stream.experience(t))
        for name, value in strategy.teacher.state_dict().items():
            assert torch.equal(value, before[name]), name
    norms = [m for m in strategy.teacher.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not torch.equal(norms[0].running_mean, torch.zeros_like(norms[0].running_mean))
    assert not any(p.requires_grad for p in strategy.teacher.parameters())


def test_one_forward_pass_of_the_teacher_a_step_whatever_the_number_of_heads():
    r = run("strategy=lwf", "scenario=task_incremental", "scenario.n_tasks=4", "strategy.epochs=2")
    strategy: Any = r.strategy()
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    strategy.teacher.register_forward_hook(count)
    for t in range(4):
        calls = 0
        task = r.stream.experience(t)
        strategy.learn(task)
        assert calls == 2 * -(-len(task) // 32)


def test_a_stronger_teacher_is_followed_more_closely():
    def gap(alpha: float) -> float:
        r = run(
            "strategy=lwf",
            "scenario=class_incremental",
            "scenario.n_tasks=2",
            "strategy.epochs=5",
            f"strategy.alpha={alpha}",
        )
        strategy, outcome = go(r)
        assert outcome.error is None
        old: Any = strategy
        x = r.stream.experience(1).x
        heads = torch.zeros(1, 4, dtype=torch.bool)
        heads[0, r.stream.experience(0).y.unique()] = True
        with torch.no_grad():
            return float(by_torch(old.model(x), old.teacher(x), heads))

    gaps = [gap(alpha) for alpha in (0, 1, 10)]
    assert gaps == sorted(gaps, reverse=True)


@pytest.mark.parametrize(
    "word", ["strategy.alpha=-1", "strategy.temperature=0", "strategy.temperature=inf"]
)
def test_refusals(word: str):
    with pytest.raises(UsageError) as caught:
        run("strategy=lwf", "scenario=scole", word)
    assert "\n" not in str(caught.value)
