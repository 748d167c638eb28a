"""What counted calls say about all, and what is held meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import go, record_of, run
from test_harness import SCOLE
from torch import Tensor

from clbench.engine.counting import ENOUGH, ONE_IN, Numbers, estimate, is_counted, is_hashed
from clbench.engine.reach import held_bytes
from clbench.results.record import Record
from clbench.stream import TaskData

LONG = ("scenario=scole", "scenario.n_tasks=400", "eval_every=400")


def cost_of(*words: str, change: Any = None) -> tuple[dict[str, Any], Record]:
    r = run(*words)
    strategy = r.strategy()
    if change is not None:
        change(strategy)
    trained, outcome = go(r, strategy)
    assert outcome.status == "completed", outcome.error
    record = record_of(r, trained, outcome)
    return record.cost, record


def test_about_one_in_32_is_hashed_whatever_the_seed():
    for seed in range(3):
        found = [n for n in range(1, 8001) if is_hashed(seed, "learn", n)]
        assert abs(len(found) - 8000 / ONE_IN) < 4 * (8000 / ONE_IN) ** 0.5
        assert found != [n for n in range(1, 8001) if is_hashed(seed + 1, "learn", n)]
        assert found != [n for n in range(1, 8001) if is_hashed(seed, "prepare", n)]
    assert all(is_counted(0, "learn", 2**k) for k in range(12))


def test_the_mean_rate_of_hashed_calls_serves_from_four_on():
    powers = [(0, 10, 10, 1, False), (10, 10, 30, 1, False)]
    hashed = [(100 * k, 10, 70, 2, True) for k in range(1, ENOUGH + 1)]
    assert estimate([*powers, *hashed], 1000, "operations") == 7 * 1000
    assert estimate([*powers, *hashed], 1000, "updates") == 0.2 * 1000


def test_few_counted_calls_are_summed_and_interpolated_between():
    def calls(*before_and_amount: tuple[int, int]) -> list[Numbers]:
        return [(before, 10, amount, 1, False) for before, amount in before_and_amount]

    assert estimate([], 20, "operations") == 0
    assert estimate(calls((0, 10), (10, 30)), 20, "operations") == 10 + 30
    assert estimate(calls((0, 10), (30, 30)), 60, "operations") == 10 + 20 * 2 + 30 + 20 * 3
    assert estimate(calls((10, 10)), 20, "operations") == 10 + 10


def hidden_work(strategy: Any, times: int) -> None:
    """Train so many times over at every experience that the powers of two leave out."""
    learn, number = strategy.learn, 0

    def more(task: TaskData) -> None:
        nonlocal number
        number += 1
        for _ in range(1 if number & (number - 1) == 0 else times):
            learn(task)

    strategy.learn = more


@pytest.mark.parametrize("n_tasks", [12, 400])
def test_work_between_the_powers_of_two_is_counted_or_not_ranked(n_tasks: int):
    """A strategy that trained 20 times as long there had the operations of naive."""
    stream = ("scenario=scole", f"scenario.n_tasks={n_tasks}", "eval_every=400", "strategy=naive")
    honest, record = cost_of(*stream)
    assert honest["flops_ranked"] is True
    assert record.warnings == []
    cost, record = cost_of(*stream, change=lambda s: hidden_work(s, 20))
    if n_tasks == 400:
        assert cost["train_flops"] > 15 * honest["train_flops"]
    else:
        assert cost["flops_ranked"] is False
        assert "updates" in record.warnings[0]


@pytest.mark.parametrize("eval_every", ["1", "10"])
def test_training_before_the_last_evaluation_is_counted_and_timed(eval_every: str):
    """``gdumb eval_every=10`` on five tasks showed no operations and no training time."""
    cost, _ = cost_of(
        *("scenario=scole", "scenario.n_tasks=5", "strategy=gdumb", f"eval_every={eval_every}"),
        "strategy.memory_epochs=3",
    )
    n_stored, layers = 48, [(6, 8), (8, 4)]
    forward = sum(2 * a * b for a, b in layers)
    each = 3 * n_stored * (3 * forward - 2 * 6 * 8)
    if eval_every == "10":
        assert 0 < cost["train_flops"] <= each
        assert cost["updates"] == pytest.approx(cost["train_flops"] / each * 3 * 2, abs=3)
    else:
        assert cost["train_flops"] > each
    assert cost["train_seconds"] > 0
    assert cost["flops_ranked"] is True


def test_a_growing_strategy_is_estimated_within_the_tolerance():
    cost, _ = cost_of("scenario=class_incremental", "scenario.n_tasks=2", "strategy=joint")
    assert cost["flops_ranked"] is True


class _Task:
    """Something that holds a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def test_held_bytes_leave_out_what_was_given():
    given, own = torch.zeros(100), torch.zeros(7)
    holder = {"given": _Task(given[3:50]), "own": [own, own[2:]]}
    assert held_bytes(holder) == 428
    assert held_bytes(holder, apart_from=[_Task(given)]) == 28


@pytest.mark.parametrize(
    ("strategy", "copies"),
    [
        ("naive", 1),  # the weights
        ("lwf", 2),  # the teacher
        ("si", 5),  # importance, anchor, path, and the pull to the anchor
        ("ewc", 4),
    ],
)
def test_bytes_are_the_most_that_was_ever_held(strategy: str, copies: int):
    """What is held during an experience only counts as what is held between experiences does."""
    cost, _ = cost_of(*SCOLE, f"strategy={strategy}")
    n_weights = 7 * 8 + 9 * 4
    assert 0 <= cost["state_bytes"] - copies * 4 * n_weights < 64


def test_generative_replay_is_charged_for_the_scholar_that_it_copies():
    words = ("strategy=generative_replay", "strategy.generator_width=16")
    cost, _ = cost_of(*SCOLE, *words)
    strategy: Any = run(*SCOLE, *words).strategy()
    generator = sum(p.nbytes for p in strategy.generator.parameters())
    # The generator, Adam's two moments of it, and the copy.
    assert cost["state_bytes"] >= 4 * generator + 2 * strategy.weights.nbytes
