"""Evaluations: when they are, and that they change nothing."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from small import go, run
from test_harness import SCOLE, frozen, same_state
from torch import Tensor

from clbench.engine.harness import is_due, run_stream
from clbench.engine.ledger import Ledger
from clbench.strategy import Strategy


def test_log_schedule():
    due = [n for n in range(1, 1001) if is_due("log", n)]
    assert due[:20] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 16, 20, 25, 32, 40, 50, 63, 79, 100]
    assert due[-1] == 1000
    assert sum(is_due("log", n) for n in range(10_000, 100_000)) == 10
    assert [n for n in range(1, 10) if is_due("3", n)] == [3, 6, 9]


@pytest.mark.parametrize(
    ("every", "after"),
    [
        ("1", [0, 1, 2, 3, 4, 5, 6]),
        ("4", [0, 4, 6]),
        ("100", [0, 6]),
        ("log", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_evaluations_are_before_the_first_when_due_and_after_the_last(every: str, after: list[int]):
    _, outcome = go(run("strategy=naive", *SCOLE, f"eval_every={every}"))
    assert outcome.ledger.evaluated_after == after


def test_how_often_it_is_evaluated_changes_nothing_of_what_is_learnt():
    a, often = go(run("strategy=joint", *SCOLE))
    b, rarely = go(run("strategy=joint", *SCOLE, "eval_every=5"))
    assert same_state(a.state_dict(), b.state_dict())
    assert often.ledger.correct[-1] == rarely.ledger.correct[-1]


@pytest.mark.parametrize("n_tasks", [2, 40])
def test_forward_passes_of_an_evaluation_do_not_depend_on_the_number_of_tasks(n_tasks: int):
    r = run("strategy=naive", "scenario=scole", f"scenario.n_tasks={n_tasks}", "eval_every=1000")
    strategy = r.strategy()
    passes = []
    strategy.model.register_forward_hook(  # type: ignore[union-attr]
        lambda module, args, out: passes.append(len(out)) if not module.training else None
    )
    _, outcome = go(r, strategy)
    assert len(outcome.ledger.evaluated_after) == 2
    assert passes == [20, 20]


def test_predict_changes_nothing():
    r = run("strategy=ewc", *SCOLE)
    strategy, _ = go(r)
    before = copy.deepcopy(strategy.state_dict())
    strategy.eval()
    world = r.stream.world()
    scores = strategy(world.x)
    assert same_state(strategy.state_dict(), before)
    assert torch.allclose(torch.cat([strategy(x[None]) for x in world.x]), scores, atol=1e-6)


class Preparing(Strategy):
    """Answers the class it is prepared for; draws a number whenever it prepares."""

    def __init__(self, info: Any, config: Any, build_model: Any) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("learnt", torch.zeros((), dtype=torch.int64))
        self.register_buffer("prepared", torch.full((), -1))
        self.register_buffer("drawn", torch.zeros(()))

    def learn(self, task: Any) -> None:
        self.learnt += 1

    def prepare(self) -> None:
        self.prepared.copy_(self.learnt)
        self.drawn.copy_(torch.rand(()))

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        assert self.prepared == self.learnt or self.learnt == 0
        return torch.zeros(len(x), 4)


@pytest.mark.parametrize("every", ["1", "4"])
def test_strategies_prepare_for_every_evaluation_after_learning(every: str):
    r = run("strategy=naive", *SCOLE, f"eval_every={every}", "checkpoint_seconds=0")

    def fresh() -> Strategy:
        return Preparing(r.info(), None, lambda: torch.nn.Identity())

    saved: list[tuple[dict[str, Any], bytes]] = []
    strategy, outcome = go(r, fresh(), save=lambda b, s: saved.append(frozen(b, s)))
    assert outcome.error is None
    for ledger, state in saved:
        again = fresh()
        again.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        run_stream(r, again, Ledger.from_dict(copy.deepcopy(ledger)))
        assert same_state(again.state_dict(), strategy.state_dict())
