"""The training loop's settings: output masks and the optimizer's memory."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from small import go, pool, run

from clbench.strategy import Batch

SCOLE = ("strategy=naive", "scenario=scole", "scenario.n_tasks=20")
MASKS = ("none", "single", "group_zero", "group")


def rows_after(*words: str, n: int = 1) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """The output layer's rows (bias last) before and after an experience."""
    r = run(*SCOLE, *words)
    strategy: Any = r.strategy().double()

    def rows() -> torch.Tensor:
        head = strategy.model[-1]
        return torch.cat([head.weight, head.bias[:, None]], 1).detach().clone()

    before, task = rows(), r.stream.experience(0)
    strategy.learn(task)
    return before, rows(), task


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scope", ["batch", "task"])
@pytest.mark.parametrize("more", [(), ("scenario.chunk=9",)])
def test_rows_of_absent_classes_stay_to_the_bit(mask: str, scope: str, more: tuple[str, ...]):
    before, after, task = rows_after(
        f"strategy.mask={mask}", f"strategy.mask_scope={scope}", "strategy.epochs=3", *more
    )
    mine = torch.zeros(4, dtype=torch.bool)
    mine[task.y] = True
    assert 1 < mine.sum() < 4
    assert (before[mine] != after[mine]).any(1).all()
    assert torch.equal(before[~mine], after[~mine]) == (mask != "none")


def test_the_scope_decides_what_a_batch_of_one_class_teaches():
    """A softmax over one class is 1: nothing to learn, unless the task's other class is in it."""
    words = ("strategy.batch_size=1", "strategy.mask=group")
    before, after, _ = rows_after(*words, "strategy.mask_scope=batch")
    assert torch.equal(before, after)
    before, after, _ = rows_after(*words, "strategy.mask_scope=task")
    assert not torch.equal(before, after)


def test_classes_that_are_replayed_are_in_every_mask():
    r = run(*SCOLE, "strategy.mask=group", "strategy.mask_scope=task")
    strategy: Any = r.strategy()
    task = r.stream.experience(0)
    strategy.learn(task)
    other = min(set(range(4)) - set(task.y.tolist()))
    y = torch.cat([task.y[:3], torch.tensor([other])])
    scores = strategy.scores(Batch(task.x[:4], y))
    assert scores.isfinite().all(0).nonzero().squeeze(1).tolist() == sorted(
        {other, *task.y.tolist()}
    )
    assert strategy.loss(Batch(task.x[:4], y)).isfinite()


@pytest.mark.parametrize("mask", MASKS)
def test_predictions_are_over_all_classes(mask: str):
    r = run(*SCOLE, f"strategy.mask={mask}")
    strategy: Any = r.strategy()
    task = r.stream.experience(0)
    strategy.learn(task)
    assert torch.equal(strategy(task.x), strategy.model(task.x))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scope", ["batch", "task"])
def test_masks_go_with_task_ids_and_other_strategies(mask: str, scope: str):
    words = (f"strategy.mask={mask}", f"strategy.mask_scope={scope}")
    for strategy in ("naive", "joint"):
        on = ("scenario=task_incremental", "scenario.n_tasks=2")
        _, outcome = go(run(f"strategy={strategy}", *on, *words))
        assert outcome.status == "completed", outcome.error
        assert outcome.ledger.world_accuracy[-1] > 0.5


@pytest.mark.parametrize("mask", MASKS)
def test_unlabelled_batches_teach_nothing_and_break_nothing(mask: str):
    r = run(*SCOLE, f"strategy.mask={mask}")
    strategy: Any = r.strategy()
    before, task = strategy.weights.clone(), r.stream.experience(0)
    strategy.learn(replace(task, y=torch.full_like(task.y, -1)))
    assert torch.equal(strategy.weights, before)
    some = torch.where(torch.arange(len(task)) % 2 == 0, task.y, -1)
    strategy.learn(replace(task, y=some))
    assert strategy.weights.isfinite().all()
    assert not torch.equal(strategy.weights, before)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_reset_optimizer_is_a_new_one_with_every_experience(optimizer: str):
    more = ("strategy.momentum=0.9",) if optimizer == "sgd" else ()
    words = (*SCOLE, f"strategy.optimizer={optimizer}", *more)
    ends = {}
    for reset in ("true", "false"):
        r = run(*words, f"strategy.reset_optimizer={reset}")
        strategy: Any = r.strategy()
        strategy.learn(r.stream.experience(0))
        fresh: Any = r.strategy()
        fresh.weights.copy_(strategy.weights)
        for learner in (strategy, fresh):
            learner.learn(r.stream.experience(1))
        ends[reset] = torch.equal(strategy.weights, fresh.weights)
    assert ends == {"true": True, "false": False}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_reset_weights_leave_nothing_of_earlier_experiences(optimizer: str):
    """Learning B after A is learning B alone, from a network that the learning generator draws."""
    ends = {}
    for reset in ("true", "false"):
        r = run(*SCOLE, f"strategy.optimizer={optimizer}", f"strategy.reset_weights={reset}")
        learners: list[Any] = [r.strategy(), r.strategy()]
        learners[0].learn(r.stream.experience(0))
        for learner in learners:
            torch.manual_seed(5)
            learner.learn(r.stream.experience(1))
        ends[reset] = torch.equal(learners[0].weights, learners[1].weights)
        torch.manual_seed(6)
        learners[1].learn(r.stream.experience(1))
        assert not torch.equal(learners[0].weights, learners[1].weights)
    assert ends == {"true": True, "false": False}


def test_reset_weights_reset_running_statistics_too():
    r = run(*SCOLE, "strategy.reset_weights=true", on=pool(shape=(8, 8)))
    strategy: Any = r.strategy()
    strategy.model.register_buffer("count", torch.zeros(()))
    strategy.build_model = lambda: strategy_copy(strategy)
    strategy.model.count.fill_(7)
    strategy.learn(r.stream.experience(0))
    assert strategy.model.count == 0


def strategy_copy(strategy: Any) -> torch.nn.Module:
    """The network of a strategy with its buffer at zero."""
    fresh = deepcopy(strategy.model)
    fresh.count.zero_()
    return fresh
