"""PackNet, GPM and HAT: what earlier tasks answer stays, and what they cannot do is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import pool, run
from torch import Tensor

from clbench.errors import UsageError

TOLD = ("scenario=task_incremental", "scenario.n_tasks=2")


def learnt(name: str, *words: str, image: bool = False) -> tuple[Any, Any, Tensor, Tensor]:
    """After two tasks: answers to the first task's samples before the second and after it."""
    on = pool(shape=(16, 16), n_train=8) if image else None
    r = run(f"strategy={name}", *TOLD, *words, on=on)
    strategy: Any = r.strategy().double()
    first, second = (r.stream.experience(t) for t in range(2))
    found = []
    for task in (first, second):
        strategy.learn(task)
        strategy.eval()
        with torch.no_grad():
            found.append(strategy(first.x, first.task_id)[:, first.classes])
    return r, strategy, *found


@pytest.mark.parametrize("model", ["mlp", "slim_resnet18", "scole_cnn"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_packnet_answers_for_earlier_tasks_as_before(model: str, optimizer: str):
    words = (f"model={model}", f"strategy.optimizer={optimizer}", "strategy.weight_decay=0.01")
    _, strategy, before, after = learnt("packnet", *words, image=True)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-12)
    kept = [(strategy.owner == t).sum() for t in range(2)]
    assert min(kept) > 0


def test_packnet_shares_the_weights_equally():
    _, strategy, _, _ = learnt("packnet", "model=mlp", "model.hidden=[8]")
    owner = strategy.per_parameter(strategy.owner)[0]
    assert [int((owner == t).sum()) for t in range(2)] == [24, 24]  # of 8 units with 6 inputs


def test_gpm_that_holds_everything_keeps_every_answer():
    """With a threshold of 1 the inputs of the first task are all in the memory."""
    words = ("strategy.threshold=1", "strategy.samples=1000", "model=mlp", "model.hidden=[30]")
    _, strategy, before, after = learnt("gpm", *words, "strategy.epochs=3")
    torch.testing.assert_close(after, before, rtol=1e-7, atol=1e-9)
    assert 0 < float(strategy.diagnostics()["held"]) <= 1


@pytest.mark.parametrize("model", ["scole_cnn", "resnet32"])
def test_gpm_takes_convolutions_and_keeps_norms(model: str):
    words = (f"model={model}", "strategy.threshold=1", "strategy.samples=1000")
    _, strategy, before, after = learnt("gpm", *words, image=True)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-8)
    assert bool(strategy.kept) == (model != "scole_cnn")


def test_gpm_spaces_are_projections_and_grow():
    r = run("strategy=gpm", *TOLD, "model=mlp", "model.hidden=[8]")
    strategy: Any = r.strategy().double()
    ranks = []
    for t in range(2):
        strategy.learn(r.stream.experience(t))
        space = strategy.get_buffer(strategy.layers[0].buffer)
        torch.testing.assert_close(space @ space, space)
        torch.testing.assert_close(space, space.T)
        ranks.append(round(float(space.trace())))
    assert 0 < ranks[0] <= ranks[1] <= 7


def test_hat_spares_the_units_that_earlier_tasks_use():
    """Gates at 0 and 1 alone: what goes into a used unit stays to the bit, the rest moves."""
    r = run("strategy=hat", *TOLD, "model=mlp", "model.hidden=[8,8]", "strategy.lr=0.1")
    strategy: Any = r.strategy().double()
    first, second = (r.stream.experience(t) for t in range(2))
    strategy.learn(first)
    strategy.used.copy_((strategy.used > 0.5).double())
    strategy.used[[0, 9]] = 1.0
    strategy.used[[1, 10]] = 0.0
    before = [p.clone() for p in strategy.per_parameter(strategy.weights)[1:]]
    used = strategy.used.bool().clone()
    strategy.learn(second)
    after = strategy.per_parameter(strategy.weights)[1:]
    assert torch.equal(after[0][used[:8]], before[0][used[:8]])
    assert torch.equal(after[1][used[:8]], before[1][used[:8]])
    both = used[8:, None] & used[None, :8]
    assert torch.equal(after[2][both], before[2][both])
    assert not torch.equal(after[0][~used[:8]], before[0][~used[:8]])
    assert not torch.equal(after[2][~both], before[2][~both])


@pytest.mark.parametrize("name", ["packnet", "hat"])
@pytest.mark.parametrize("scenario", ["class_incremental", "scole", "domain_incremental"])
def test_tasks_that_are_not_told_are_refused(name: str, scenario: str):
    with pytest.raises(UsageError, match="needs task identities") as caught:
        run(f"strategy={name}", f"scenario={scenario}", on=pool(shape=(8, 8)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ("strategy=gpm", "strategy.momentum=0.9"),
        ("strategy=gpm", "strategy.optimizer=adam"),
        ("strategy=gpm", "strategy.weight_decay=0.1"),
        ("strategy=gpm", "strategy.threshold=1.1"),
        ("strategy=hat", "strategy.optimizer=adam"),
        ("strategy=hat", "strategy.patience=2"),
        ("strategy=hat", "model=slim_resnet18"),
        ("strategy=hat", "strategy.s_max=0.5"),
        ("strategy=packnet", "strategy.prune=1"),
        ("strategy=packnet", "strategy.reset_weights=true"),
        ("strategy=upgd", "strategy.momentum=0.9"),
        ("strategy=upgd", "strategy.optimizer=adam"),
        ("strategy=redo", "strategy.optimizer=adafactor"),
        ("strategy=redo", "model=slim_resnet18"),
        ("strategy=scr", "strategy.mask=group"),
        ("strategy=scr", "strategy.views=jitter+flop"),
    ],
)
def test_what_they_cannot_do_is_refused_in_one_line(words: tuple[str, ...]):
    with pytest.raises(UsageError) as caught:
        run(*TOLD, *words, on=pool(shape=(8, 8))).strategy()
    assert "\n" not in str(caught.value)


def test_packnet_refuses_a_task_that_comes_again():
    r = run("strategy=packnet", *TOLD)
    strategy: Any = r.strategy()
    strategy.learn(r.stream.experience(0))
    with pytest.raises(UsageError, match="task 0 came again"):
        strategy.learn(r.stream.experience(0))
