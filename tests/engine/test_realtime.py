"""The clock of operations: what is missed is a closed form, and predictions wait for what is paid."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from small import go, pool, record_of, run
from test_harness import SCOLE, books, frozen, resumed, same_state

from clbench import seeding
from clbench.engine.realtime import flops_per_sample
from clbench.errors import UsageError
from clbench.seeding import Axis

FORTY = ("scenario=scole", "scenario.n_tasks=40", "eval_every=100")
"""Experiences of one size: 24 samples."""
PASS = 3 * 2 * (6 * 8 + 8 * 4) - 2 * 6 * 8
"""Operations a sample of the network: 2ab forward, for weights and for inputs, but no input's."""


def test_a_pass_is_the_closed_form():
    assert flops_per_sample(run("strategy=naive", *SCOLE, "realtime=1")) == PASS
    assert flops_per_sample(run("strategy=naive", *SCOLE, "realtime=0.7")) == math.ceil(0.7 * PASS)
    deep = run("strategy=naive", *SCOLE, "realtime=2", "model=mlp", "model.hidden=[8,5]")
    layers = 3 * 2 * (6 * 8 + 8 * 5 + 5 * 4) - 2 * 6 * 8
    assert flops_per_sample(deep) == 2 * layers


def schedule(c: Fraction, n: int) -> list[int]:
    """The experiences that are learnt: floor(j c), each once."""
    every = (math.floor(j * max(c, Fraction(1))) for j in range(n))
    return [t for t in every if t < n]


@pytest.mark.parametrize(
    ("epochs", "realtime"),
    [
        (1, "1"),
        (1, "4"),
        (2, "1"),
        (3, "1"),
        (7, "1"),
        (3, "2"),
        (5, "2"),
        (4, "3"),
        (5, "4"),
        (1, "0.25"),
        (1, "0.5"),
        (1, "0.75"),
        (3, "0.5"),
        (60, "1"),
    ],
)
def test_a_strategy_of_c_passes_learns_every_c_th_experience(epochs: int, realtime: str):
    """Every epoch is one forward and one backward pass, so C = epochs / realtime."""
    r = run("strategy=naive", *FORTY, f"strategy.epochs={epochs}", f"realtime={realtime}")
    strategy, outcome = go(r)
    assert outcome.status == "completed"
    learnt = schedule(epochs / Fraction(realtime), 40)
    found = record_of(r, strategy, outcome).online
    assert found is not None
    assert found["realtime"] == {
        "flops_per_sample": PASS * Fraction(realtime),
        "spent_flops": len(learnt) * epochs * 24 * PASS,
        "missed": [t for t in range(40) if t not in learnt],
    }
    assert outcome.ledger.samples == 24 * len(learnt)


@pytest.mark.parametrize(
    ("epochs", "realtime", "delay"),
    [
        (1, "1", 0),
        (2, "1", 0),
        (5, "2", 0),
        (3, "2", 0),
        (5, "1", 0),
        (4, "3", 0),
        (3, "2", 1),
        (5, "1", 2),
        (1, "0.25", 0),
    ],
)
def test_predictions_are_those_of_the_weights_that_are_paid_for(
    epochs: int, realtime: str, delay: int
):
    """Learning j lasts from jC to (j+1)C: experience u comes at time u and sees what is done."""
    words = ("strategy=naive", *FORTY, f"strategy.epochs={epochs}", f"label_delay={delay}")
    r = run(*words, f"realtime={realtime}")
    _, outcome = go(r)
    c = max(Fraction(1), epochs / Fraction(realtime))
    strategy, right = r.strategy(), []
    begun = 0
    with seeding.preserved(1):
        for u in range(40):
            while delay + (begun + 1) * c <= u:  # it is finished
                t = math.floor(begun * c)
                seeding.seed_all(r.config.common.seed, Axis.LEARN, t)
                strategy.learn(r.stream.experience(t))
                begun += 1
            task = r.stream.experience(u)
            with torch.no_grad():
                right.append(int((strategy(task.x).argmax(1) == task.y).sum()))
    assert outcome.ledger.online.correct == right
    assert len(set(right)) > 3


def test_with_time_enough_nothing_is_other_than_without_a_clock():
    words = ("strategy=ewc", *SCOLE, "strategy.momentum=0.5")
    a, timed = go(run(*words, "realtime=1e6"))
    b, plain = go(run(*words, "prequential=true"))
    assert same_state(a.state_dict(), b.state_dict())
    assert timed.ledger.correct == plain.ledger.correct
    assert timed.ledger.online.correct == plain.ledger.online.correct
    assert timed.ledger.online.missed == []
    assert timed.ledger.predictions_sha256 == plain.ledger.predictions_sha256


def test_what_is_spent_is_what_all_calls_take():
    """Every experience is counted, so that the sum is exact: here the estimate is, too."""
    r = run("strategy=ewc", *SCOLE, "realtime=1e6")
    strategy, outcome = go(r)
    cost = record_of(r, strategy, outcome).cost
    assert outcome.ledger.online.spent == cost["train_flops"]
    assert cost["train_seconds"] is None, "counting takes time"


def test_training_in_prepare_is_charged():
    """``gdumb`` trains there: with no time it misses what comes meanwhile."""
    words = ("strategy=gdumb", "strategy.memory_size=24", "strategy.memory_epochs=4", *SCOLE)
    r = run(*words, "realtime=1")
    _strategy, outcome = go(r)
    assert outcome.error is None
    assert outcome.ledger.online.missed == [1, 2, 3, 5]
    assert outcome.ledger.online.spent > 0


def test_experiences_of_all_sizes():
    """What is worked off is what passes: an independent account of the debt."""
    words = ("scenario=class_incremental", "scenario.chunk=7", "strategy.epochs=2")
    r = run("strategy=naive", *words, "realtime=1.5")
    _, outcome = go(r)
    sizes = outcome.ledger.online.size
    assert len(set(sizes)) > 1
    free, clock, missed = Fraction(0), Fraction(0), []
    for t, n in enumerate(sizes):
        leaves = clock + n * Fraction(3, 2)
        if free < leaves:
            free = max(free, clock) + 2 * n
        else:
            missed.append(t)
        clock = leaves
    assert outcome.ledger.online.missed == missed
    assert missed


CASES = [
    ("strategy=naive", *SCOLE, "strategy.epochs=3", "realtime=2"),
    ("strategy=naive", *SCOLE, "strategy.epochs=5", "realtime=2", "prequential_ahead=2"),
    ("strategy=er", *SCOLE, "scenario.chunk=9", "realtime=0.7", "strategy.momentum=0.5"),
    ("strategy=derpp", *SCOLE, "scenario.chunk=9", "realtime=0.7", "label_delay=2"),
    ("strategy=ewc", "scenario=task_incremental", "scenario.n_tasks=2", "realtime=0.3"),
    ("strategy=gdumb", *SCOLE, "realtime=1", "strategy.memory_size=24"),
]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_resume_after_every_experience_gives_the_same_bits(words: tuple[str, ...]):
    r = run(*words, "checkpoint_seconds=0")
    saved: list[tuple[dict[str, Any], bytes]] = []
    strategy, whole = go(r, save=lambda ledger, state: saved.append(frozen(ledger, state)))
    assert whole.status == "completed"
    assert any(ledger["online"]["debt"] for ledger, _ in saved)
    for checkpoint in saved:
        again, outcome = resumed(r, checkpoint)
        assert books(outcome.ledger) == books(whole.ledger)
        assert same_state(again.state_dict(), strategy.state_dict())
    assert record_of(r, strategy, whole).online == record_of(r, again, outcome).online


def test_an_extended_run_gives_the_bits_of_a_single_one():
    """At its end the short run is in the middle of a debt, of which experiences are predicted."""
    words = ("strategy=naive", "scenario=scole", "scenario.n_tasks=null", "strategy.epochs=4")
    words += ("realtime=1",)
    saved: list[tuple[dict[str, Any], bytes]] = []
    one, short = go(
        run(*words, "max_tasks=5"), save=lambda ledger, state: saved.append(frozen(ledger, state))
    )
    assert short.ledger.online.waiting
    record = record_of(run(*words, "max_tasks=5"), one, short)
    assert record.online is not None
    assert len(record.online["correct"]) == 5
    longer = run(*words, "max_tasks=11")
    extended, outcome = resumed(longer, saved[-1])
    single, wanted = go(longer)
    assert books(outcome.ledger) == books(wanted.ledger)
    assert same_state(extended.state_dict(), single.state_dict())


def test_a_strategy_that_cannot_be_rebuilt_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run("strategy=naive", *SCOLE).strategy_class, "resumable", False)
    with pytest.raises(UsageError, match="'naive' cannot be rebuilt from its state"):
        run("strategy=naive", *SCOLE, "realtime=1")


def test_a_network_that_takes_no_operations_is_refused(monkeypatch: pytest.MonkeyPatch):
    r = run("strategy=naive", *SCOLE, "realtime=1")

    class Free(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :4] * self.scale

    monkeypatch.setattr(type(r.config.model), "build", lambda *given: Free())
    with pytest.raises(UsageError, match="has no operation that counts"):
        go(r)


def test_convolutions_are_counted():
    words = ("model=slim_resnet18", "strategy=naive", *SCOLE, "realtime=1")
    r = run(*words, "max_tasks=2", on=pool(n_train=16, shape=(8, 8)))
    _, outcome = go(r)
    assert outcome.ledger.online.missed == [], (
        "batches of 32 samples, as in the pass that is counted"
    )
