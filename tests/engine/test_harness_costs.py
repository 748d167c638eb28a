"""What a run costs: operations, samples, updates and bytes."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small import go, pool, record_of, run
from test_harness import SCOLE

from clbench.configure.board import Budget
from clbench.engine.harness import start_ledger
from clbench.engine.ledger import Ledger, tensors_of


@pytest.mark.parametrize("epochs", [1, 3])
def test_flops_of_naive_are_the_closed_form(epochs: int):
    """Per sample and layer (a, b): 2ab forward, 2ab for the weights, 2ab for inputs but data."""
    r = run(
        "strategy=naive", *SCOLE, "model=mlp", "model.hidden=[8,5]", f"strategy.epochs={epochs}"
    )
    strategy, outcome = go(r)
    cost = record_of(r, strategy, outcome).cost
    layers = [(6, 8), (8, 5), (5, 4)]
    forward = sum(2 * a * b for a, b in layers)
    samples = outcome.ledger.samples
    assert cost["train_flops"] == epochs * samples * (3 * forward - 2 * 6 * 8)
    assert cost["predict_flops"] == 20 * forward * len(outcome.ledger.evaluated_after)
    assert cost["flops_uncounted"] == []


def test_samples_and_updates_are_counted():
    r = run("strategy=ewc", *SCOLE, "strategy.batch_size=7", "strategy.epochs=2")
    _, outcome = go(r)
    assert outcome.ledger.samples == 6 * 24
    assert outcome.ledger.updates == 6 * 2 * 4


@pytest.mark.parametrize("strategy", ["naive", "ewc"])
@pytest.mark.parametrize("more", [(), ("strategy.momentum=0.5",)])
def test_state_does_not_grow_with_the_stream(strategy: str, more: tuple[str, ...]):
    def state_bytes(n_tasks: int) -> int:
        r = run(f"strategy={strategy}", "scenario=scole", f"scenario.n_tasks={n_tasks}", *more)
        return go(r)[1].ledger.state_bytes

    n_weights = 7 * 8 + 9 * 4
    # Weights, importances, anchor, and the pull to it, which is held during a task only; then the
    # mean loss, the scale of inputs and the classes at hand.
    copies = {"naive": 1, "ewc": 4}[strategy] + len(more)
    assert state_bytes(2) == state_bytes(30) == copies * 4 * n_weights + 4 + 4 + 4


def test_joint_stores_every_distinct_sample_once():
    r = run("strategy=joint", "scenario=scole", "scenario.n_tasks=30")
    strategy, outcome = go(r)
    per_sample = 6 * 4 + 8 + 8
    assert record_of(r, strategy, outcome).cost["memory_bytes"] == 48 * per_sample


def test_joint_from_scratch_keeps_neither_weights_nor_momentum():
    r = run(
        "strategy=joint",
        *SCOLE,
        "strategy.budget=scratch",
        "strategy.momentum=0.9",
        "strategy.epochs=2",
    )
    strategy: Any = r.strategy()
    strategy.learn(r.stream.experience(0))
    before = strategy.weights.clone()
    assert strategy.optimizer.state
    task = strategy.begin(r.stream.experience(1))
    assert not strategy.optimizer.state
    assert not torch.allclose(strategy.weights, before)
    assert len(task) == len(strategy.seen) == 36


@pytest.mark.parametrize(("budget", "wanted"), [("matched", 24), ("full", 36)])
def test_joint_trains_on_what_its_budget_says(budget: str, wanted: int):
    r = run("strategy=joint", *SCOLE, f"strategy.budget={budget}", "seed=4")
    assert [r.stream.plan(t).classes for t in range(2)] == [(0, 2), (1, 2)]
    strategy: Any = r.strategy()
    strategy.learn(r.stream.experience(0))
    task = strategy.begin(r.stream.experience(1))
    assert len(task) == wanted
    assert len({tuple(x) for x in task.x.tolist()}) == wanted, "each distinct sample at most once"
    assert 0 in task.y.tolist()


def test_the_hash_of_predictions_covers_every_evaluation():
    def after(*answers: bytes) -> str:
        ledger = Ledger(stream_sha256="s", predictions_sha256="")
        for answer in answers:
            ledger.evaluated([1], answer, 0.5, {})
        return ledger.predictions_sha256

    assert (
        len({after(b"a"), after(b"b"), after(b"a", b"b"), after(b"b", b"b"), after(b"b", b"a")})
        == 5
    )


def test_diagnostics_that_come_late_or_are_no_numbers_are_null():
    ledger = Ledger(stream_sha256="s", predictions_sha256="")
    ledger.evaluated([1], b"", 0.5, {"a": 1.0})
    ledger.evaluated([1], b"", 0.5, {"b": float("nan")})
    ledger.evaluated([1], b"", 0.5, {"a": float("inf"), "b": 2.0})
    assert ledger.diagnostics == {"a": [1.0, None, None], "b": [None, None, 2.0]}


def test_memory_outside_of_tensors_is_refused():
    r = run("strategy=naive", *SCOLE)
    strategy = r.strategy()
    strategy.get_extra_state = lambda: {"hidden": "x" * 5000}  # type: ignore[method-assign]
    _, outcome = go(r, strategy)
    assert outcome.status == "error"
    assert "tensors" in str(outcome.error)


def test_the_ledger_holds_no_tensors_and_survives_its_round_trip():
    _, outcome = go(run("strategy=ewc", *SCOLE))
    data = outcome.ledger.to_dict()
    assert tensors_of(data) == []
    assert Ledger.from_dict(data).to_dict() == data
    assert start_ledger(run("strategy=naive", *SCOLE)).experiences == 0


def test_all_strategies_learn_the_blobs():
    """Far above the 25 % of chance, so the bits above are those of something that works."""
    for name in ("naive", "ewc", "joint"):
        r = run(f"strategy={name}", "scenario=scole", "scenario.n_tasks=60", on=pool())
        _, outcome = go(r)
        assert outcome.ledger.world_accuracy[-1] > 0.8, name


@pytest.mark.parametrize(("reliable", "status"), [(True, "budget_exceeded"), (False, "completed")])
def test_an_estimate_that_does_not_hold_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, reliable: bool, status: str
) -> None:
    """Podnet with 804 updates was ended at a budget of four times its operations."""
    monkeypatch.setattr("clbench.engine.harness.unranked", lambda _: None if reliable else "no")
    this = run("scenario=scole", "scenario.n_tasks=4", "strategy=naive", "eval_every=10")
    board = SimpleNamespace(budget=Budget(train_flops=1))
    config = dataclasses.replace(this.config, protocol=SimpleNamespace(board=board))
    _, outcome = go(dataclasses.replace(this, config=config), this.strategy())
    assert outcome.status == status
