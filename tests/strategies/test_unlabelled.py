"""Every built-in strategy on a stream of which half the labels are withheld."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from plugin_settings import words_of
from small import go, pool, run

from clbench.engine.build import Run, check_needs
from clbench.errors import UsageError
from clbench.labels import Labelling
from clbench.plugins.registry import plugins
from clbench.seeding import Axis, preserved, seed_all
from clbench.strategy import Needs, Strategy

NAMES = sorted(plugins("strategy"))
SCENARIOS = ("class_incremental", "task_incremental", "scole")
DISTILS = ("bic", "foster", "icarl", "lucir", "podnet", "wa")
USES = {
    **dict.fromkeys(DISTILS, "distillation needs no label"),
    **dict.fromkeys(("dualprompt", "l2p"), "keys are pulled to the queries of all samples"),
    "continual_backprop": "the utility of a hidden unit is measured on whole batches",
    "dkvb": "its keys are fitted to all samples of the first experience",
    "ewc": "its exact and sampled Fisher take the model's own labels",
    "generative_replay": "the generator learns all images",
    "kanerva_pp": "the memory's networks learn all images",
    "gpm": "its bases are of the inputs of all samples",
    "inflora": "its spaces are of the inputs of all samples",
    "joint": "it stores all samples",
    "knn": "free slots of its memory hold them and are never read",
    "lwf": "distillation needs no label",
    "mas": "its importance needs no label",
    "online_laplace": "its curvature takes the model's own labels",
    "xder": "heads of classes to come are prepared by two views of every sample",
    "scr": "the other view of a sample is its partner, whatever its label",
}
"""Strategies whose state has something of samples without labels, and what."""
SETTINGS = {
    "ewc": ("strategy.fisher=empirical", "strategy.fisher=batched", "strategy.mode=separate"),
    "kanerva": ("strategy.mode=replay",),
    "joint": ("strategy.budget=matched", "strategy.budget=evaluations"),
    "er": ("strategy.policy=herding", "strategy.mask=group"),
    "naive": ("strategy.mask=group_zero", "strategy.optimizer=adam", "strategy.momentum=0.9"),
}
"""Further ways in which a strategy may meet a missing label."""
EPOCHS = {"foster": "5"}
"""Passes, where one is too few for a second backbone and its compression."""
PROMPTED = ("coda_prompt", "dualprompt", "inflora", "l2p")
"""Their network is a transformer, which takes images and learns slowly."""


def made(name: str, scenario: str, *more: str) -> Run:
    words = [f"scenario={scenario}", "scenario.n_tasks=2", "scenario.unlabelled=0.5", *more]
    settings = plugins("strategy")[name].load().Config()
    words += ["strategy.batch_size=4"] if hasattr(settings, "batch_size") else []
    words += [f"strategy.epochs={EPOCHS[name]}"] if name in EPOCHS else []
    if name in PROMPTED:
        words += [*words_of(name), "strategy.epochs=4"]
        return run(*words, f"strategy={name}", "seed=1", on=pool(shape=(1, 8, 8)))
    return run(*words, f"strategy={name}", "seed=1")


def each() -> Iterator[Any]:
    """All, but for what needs task ids, the streams that give them are slow: much as those without."""
    for name, scenario in itertools.product(NAMES, SCENARIOS):
        told = scenario == "task_incremental" and not plugins("strategy")[name].load().needs.task_id
        yield pytest.param(name, scenario, marks=[pytest.mark.slow] * told)


@pytest.mark.parametrize(("name", "scenario"), [*each()])
def test_it_runs_and_knows_more_than_a_guess(name: str, scenario: str):
    needs = plugins("strategy")[name].load().needs
    if (needs.task_id and scenario != "task_incremental") or (
        needs.disjoint_classes and scenario == "scole"
    ):
        with pytest.raises(UsageError, match="needs"):
            made(name, scenario)
        return
    check(made(name, scenario))


@pytest.mark.parametrize(
    ("name", "setting"), [(name, word) for name, words in SETTINGS.items() for word in words]
)
def test_it_runs_with_other_settings(name: str, setting: str):
    check(made(name, "class_incremental", setting))


def check(one: Run) -> None:
    assert any((one.stream.draw(t).labels == -1).any() for t in range(2))
    strategy, outcome = go(one)
    assert outcome.status == "completed", outcome.error
    for key, value in strategy.state_dict().items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            assert not value.isnan().any(), key
    for series in outcome.ledger.diagnostics.values():
        assert all(value is not None for value in series), outcome.ledger.diagnostics
    assert outcome.ledger.world_accuracy[-1] > 0.24


def learnt(name: str, spoilt: bool) -> dict[str, Any]:
    """The state after two tasks; spoilt: samples without labels are other ones."""
    needs = plugins("strategy")[name].load().needs
    told = "task_incremental" if needs.task_id else "class_incremental"
    one = made(name, told if needs.task_id or needs.disjoint_classes else "scole")
    strategy = one.strategy()
    with preserved(1):
        for t in range(2):
            task = one.stream.experience(t)
            if spoilt:
                hidden = (task.y < 0).view(-1, *[1] * (task.x.dim() - 1))
                task = replace(task, x=torch.where(hidden, 1 - task.x, task.x))
            seed_all(1, Axis.LEARN, t)
            strategy.learn(task)
            strategy.prepare()
    return {k: v for k, v in strategy.state_dict().items() if isinstance(v, torch.Tensor)}


@pytest.mark.parametrize("name", NAMES)
def test_what_it_learns_from_samples_without_labels_is_known(name: str):
    plain, spoilt = learnt(name, False), learnt(name, True)
    differ = sorted(k for k in plain if not torch.equal(plain[k], spoilt[k]))
    assert bool(differ) == (name in USES), differ


class Needy(Strategy):
    needs = Needs(labels=True)


def test_a_strategy_that_needs_every_label_is_refused_in_one_line():
    stream = made("naive", "scole").stream
    with pytest.raises(UsageError, match=r"needs labels \(drop scenario\.unlabelled\)") as error:
        check_needs(Needy, stream, "needy")
    assert "\n" not in str(error.value)
    check_needs(Needy, replace(stream, labelling=None), "needy")
    noisy = replace(stream, labelling=Labelling("symmetric", 0.5))
    check_needs(Needy, noisy, "needy")


def test_a_task_without_any_label_has_no_empirical_fisher():
    one = made("ewc", "scole", "strategy.fisher=empirical")
    strategy: Any = one.strategy()
    task = one.stream.experience(0)
    strategy.learn(replace(task, y=torch.full_like(task.y, -1)))
    assert not strategy.importance.any()
    assert float(strategy.mean_loss) == 0
    strategy.learn(task)
    assert strategy.importance.any()
