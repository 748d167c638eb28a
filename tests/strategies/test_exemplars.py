"""Methods with exemplars: what a step costs, counted by hand; read-outs, quotas and growth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import go, record_of, run
from torch import Tensor

from clbench.engine.ledger import state_bytes
from clbench.errors import UsageError
from clbench.nets.flops import Count

CLASSES = ("scenario=class_incremental", "scenario.n_tasks=2")
NAMES = ("icarl", "wa", "bic", "lucir", "podnet", "expansion", "foster")
N, EPOCHS = 24, 2
"""Samples of each of the two tasks (the memory holds all), and passes."""
BACKBONE, HEAD = 2 * 6 * 8, 2 * 8 * 4
FORWARD = BACKBONE + HEAD
TRAIN = FORWARD + 2 * HEAD + BACKBONE
"""Forward; backward by weights and inputs, but for the inputs of the first layer."""
PROXIES = BACKBONE + 10 * HEAD
TRAIN_PROXIES = PROXIES + 20 * HEAD + BACKBONE
AUXILIARY = 2 * 8 * 5
BOOST = 2 * BACKBONE + 2 * HEAD + HEAD + HEAD + 2 * 2 * HEAD + 2 * HEAD + BACKBONE
"""FOSTER: both backbones, the output layer of both, the frozen and the auxiliary one; backward."""
EXPAND = 2 * BACKBONE + 2 * HEAD + AUXILIARY + 2 * 2 * HEAD + 2 * AUXILIARY + BACKBONE
BY_HAND = {
    # Passes over both tasks with the teacher; the features of both for herding; those of exemplars.
    "icarl": EPOCHS * 2 * N * (TRAIN + FORWARD) + 2 * N * FORWARD + 2 * N * FORWARD,
    "wa": EPOCHS * 2 * N * (TRAIN + FORWARD) + 2 * N * FORWARD,
    # One of the twelve exemplars and samples of each class is set aside, and scored once.
    "bic": EPOCHS * (2 * N - 4) * (TRAIN + FORWARD) + 4 * FORWARD + 2 * N * FORWARD,
    # The largest of four scores: a comparison each.
    "lucir": EPOCHS * 2 * N * (TRAIN + FORWARD + 4) + 2 * N * FORWARD,
    "podnet": (EPOCHS + 3) * 2 * N * (TRAIN_PROXIES + PROXIES) + 4 * N * PROXIES,
    "expansion": EPOCHS * 2 * N * EXPAND + 2 * N * (2 * BACKBONE + 2 * HEAD),
    "foster": EPOCHS * 2 * N * BOOST
    + 3 * 2 * N * (2 * BACKBONE + 2 * HEAD + TRAIN)
    + 2 * N * FORWARD,
}
MORE = {"podnet": ("strategy.finetune_epochs=3",), "foster": ("strategy.compression_epochs=3",)}


@pytest.mark.parametrize("name", NAMES)
def test_the_second_task_costs_what_the_method_says(name: str):
    r = run(f"strategy={name}", *CLASSES, f"strategy.epochs={EPOCHS}", *MORE.get(name, ()))
    strategy: Any = r.strategy()
    tasks = [r.stream.experience(t) for t in range(2)]
    assert [len(task) for task in tasks] == [N, N]
    strategy.learn(tasks[0])
    with Count() as count:
        strategy.learn(tasks[1])
    assert count.total == BY_HAND[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_task_has_no_distillation(name: str):
    r = run(f"strategy={name}", *CLASSES, "strategy.readout=softmax")
    strategy: Any = r.strategy()
    with Count() as count:
        strategy.learn(r.stream.experience(0))
    train, forward = (TRAIN_PROXIES, PROXIES) if name == "podnet" else (TRAIN, FORWARD)
    assert count.total == N * train + N * forward


@pytest.mark.parametrize("name", ["icarl", "er"])
def test_a_quota_holds_for_each_class(name: str):
    r = run(f"strategy={name}", *CLASSES, "strategy.memory_per_class=5")
    strategy: Any = r.strategy()
    held = []
    for t in range(2):
        strategy.learn(r.stream.experience(t))
        stored = strategy.memory.y[: int(strategy.memory.filled)]
        held.append(stored.bincount(minlength=4).tolist())
    classes = sorted(set(r.stream.experience(0).y.tolist()))
    assert held == [[5 if c in classes else 0 for c in range(4)], [5] * 4]
    assert len(strategy.memory.y) == 20  # its bytes are those of all classes from the start


@pytest.mark.parametrize("word", ["memory_size=9", "memory_bytes=999"])
def test_a_quota_and_a_size_are_refused_together(word: str):
    with pytest.raises(UsageError, match="memory_per_class"):
        run("strategy=icarl", *CLASSES, "strategy.memory_per_class=5", f"strategy.{word}")


def test_exemplars_with_a_quota_are_the_first_of_the_larger_memorys_lists():
    kept = []
    for word in ("memory_per_class=4", "memory_size=48"):
        r = run("strategy=icarl", *CLASSES, f"strategy.{word}")
        strategy: Any = r.strategy()
        strategy.learn(r.stream.experience(0))
        stored = strategy.exemplars()
        rank = strategy.memory.get_buffer("stamp")[: len(stored)]
        kept.append({int(k) for k, place in zip(stored.key, rank, strict=True) if place < 4})
    assert kept[0] == kept[1]
    assert len(kept[0]) == 8


def test_nearest_mean_of_exemplars_is_that_of_the_paper():
    r = run("strategy=icarl", *CLASSES, "strategy.memory_size=12", "strategy.epochs=3")
    strategy, outcome = go(r)
    assert outcome.error is None
    mine: Any = strategy
    x = r.stream.world().x
    stored = mine.exemplars()
    means = []
    for c in range(4):
        z = F.normalize(mine.model[:-1](stored.x[stored.y == c]), dim=1)
        means.append(F.normalize(z.mean(0), dim=0))
    z = F.normalize(mine.model[:-1](x), dim=1)
    wanted = -torch.cdist(z, torch.stack(means)).square()
    ours = mine(x)
    assert torch.equal(ours.argmax(1), wanted.argmax(1))
    torch.testing.assert_close(2 * ours - 2, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_readout_is_one_or_the_other(name: str):
    """The state of the means is there only where they are read."""
    sizes = {}
    for readout in ("nme", "softmax"):
        r = run(f"strategy={name}", *CLASSES, f"strategy.readout={readout}")
        strategy, outcome = go(r)
        assert outcome.error is None
        sizes[readout] = state_bytes(strategy.state_dict())
    width = 16 if name == "expansion" else 8
    assert sizes["nme"] - sizes["softmax"] == 4 * 4 * width + 4


def test_expansion_grows_in_parameters_bytes_and_operations():
    r = run("strategy=expansion", "scenario=class_incremental", "scenario.n_tasks=4")
    strategy: Any = r.strategy()
    found = []
    for t in range(4):
        with Count() as count:
            strategy.learn(r.stream.experience(t))
        found.append(
            (len(strategy.model.backbones), state_bytes(strategy.state_dict()), count.total)
        )
    assert [n for n, _, _ in found] == [1, 2, 3, 4]
    for column in zip(*found, strict=True):
        assert list(column) == sorted(set(column))
    frozen = [p.requires_grad for p in strategy.model.backbones[:3].parameters()]
    assert not any(frozen)


def test_foster_holds_three_backbones_while_it_learns_and_keeps_one():
    costs = {}
    large = ("model=mlp", "model.hidden=[200]", "strategy.memory_size=4")
    for name in ("foster", "wa"):
        r = run(f"strategy={name}", *CLASSES, *large)
        strategy: Any
        strategy, outcome = go(r)
        costs[name] = record_of(r, strategy, outcome).cost["state_bytes"]
    backbone = 4 * (6 + 1) * 200
    kept = sum(p.nbytes for p in strategy.model.parameters())
    assert costs["foster"] > 3 * backbone
    assert costs["wa"] < 2 * kept + 4096


def test_foster_compresses_without_weight_decay():
    """As the authors do; boosting has that of the settings."""
    r = run("strategy=foster", *CLASSES, "strategy.weight_decay=0.3")
    strategy: Any = r.strategy()
    found: dict[bool, set[float]] = {False: set(), True: set()}
    step = strategy.step

    def noted(batch: Any) -> None:
        [group] = strategy.optimizer.param_groups
        found[strategy.boosted is not None].add(group["weight_decay"])
        step(batch)

    strategy.step = noted
    for t in range(2):
        strategy.learn(r.stream.experience(t))
    assert found == {False: {0.3}, True: {0.0}}


def test_wa_gives_new_weights_the_length_of_old_ones():
    r = run("strategy=wa", *CLASSES, "strategy.epochs=3")
    strategy: Any = r.strategy()
    for t in range(2):
        strategy.learn(r.stream.experience(t))
    length = strategy.model[-1].weight.norm(dim=1)
    old = sorted(set(r.stream.experience(0).y.tolist()))
    new = sorted(set(range(4)) - set(old))
    torch.testing.assert_close(length[new].mean(), length[old].mean())


DECAY = ("strategy.weight_decay=0.01", "strategy.momentum=0.5", "strategy.epochs=2")


def rows(strategy: Any, classes: list[int]) -> Tensor:
    """The output layer's rows of some classes, ``(classes, rows of each, d)``."""
    layer = next(m for m in strategy.model.modules() if hasattr(m, "sigma"))
    return layer.weight.detach().unflatten(0, (4, -1))[classes].clone()


@pytest.mark.parametrize("name", ["lucir", "podnet"])
def test_rows_of_old_classes_and_of_classes_to_come_stay(name: str):
    """Neither gradient nor weight decay nor what is left of momentum moves them."""
    r = run(f"strategy={name}", *CLASSES, *MORE.get(name, ()), *DECAY)
    strategy: Any = r.strategy()
    own = [sorted(set(r.stream.experience(t).y.tolist())) for t in range(2)]
    start = [rows(strategy, c) for c in own]
    strategy.learn(r.stream.experience(0))
    between = [rows(strategy, c) for c in own]
    strategy.learn(r.stream.experience(1))
    end = [rows(strategy, c) for c in own]
    assert torch.equal(start[1], between[1])
    assert torch.equal(between[0], end[0])
    for before, after in ((start[0], between[0]), (between[1], end[1])):
        assert bool((before != after).flatten(1).any(1).all())


@pytest.mark.parametrize("name", ["lucir", "podnet"])
def test_a_class_that_comes_again_is_trained_again(name: str):
    r = run(f"strategy={name}", *CLASSES, *MORE.get(name, ()))
    strategy: Any = r.strategy()
    first = r.stream.experience(0)
    classes = sorted(set(first.y.tolist()))
    strategy.learn(first)
    before = rows(strategy, classes)
    strategy.learn(first)
    assert not torch.equal(before, rows(strategy, classes))


def test_refusals():
    for words, told in (
        (("strategy=wa", "model.head=weight_norm"), "model.head=linear"),
        (("strategy=expansion", "strategy.reset_weights=true"), "reset_weights"),
        (("strategy=icarl", "strategy.form=bce", "strategy.mask=group"), "form=bce"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            run(*CLASSES, *words).strategy()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["podnet", "foster"])
def test_settings_of_the_first_task_are_not_those_of_fine_tuning(name: str):
    first = (
        "strategy.schedule=multistep",
        "strategy.milestones=[1]",
        "strategy.first.milestones=[1]",
    )
    words = (*CLASSES, f"strategy={name}", *MORE[name], "strategy.epochs=2", *first)
    prepared = run(*words, "strategy.first.warmup=2", "strategy.first.epochs=5")
    _, outcome = go(prepared)
    assert outcome.status == "completed", outcome.error
