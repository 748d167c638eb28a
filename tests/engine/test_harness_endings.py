"""How runs end: interrupted, diverged, in an error, and what they leave behind."""

from __future__ import annotations

import json
import random
import signal
from typing import Any

import numpy as np
import pytest
import torch
from small import go, record_of, run
from test_harness import SCOLE, books, frozen, resumed, same_state

from clbench.strategy import Strategy


def interrupting(strategy: Strategy, at: int, signals: list[int]) -> Strategy:
    """Signals raised from within the ``at``-th call of ``learn``."""
    learn, calls = strategy.learn, 0

    def interrupted(task: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            for number in signals:
                signal.raise_signal(number)
        learn(task)

    strategy.learn = interrupted  # type: ignore[method-assign]
    return strategy


@pytest.mark.parametrize("at", [1, 3, 6])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_at_an_experience_boundary_and_resumes_to_the_same_bits(number: int, at: int):
    r = run("strategy=ewc", *SCOLE, "eval_every=5")
    saved: list[tuple[dict[str, Any], bytes]] = []
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    _, outcome = go(
        r, interrupting(r.strategy(), at, [number]), lambda b, s: saved.append(frozen(b, s))
    )
    assert outcome.status == "interrupted"
    assert outcome.ledger.experiences == at
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    again, ended = resumed(r, saved[-1])
    strategy, whole = go(r)
    assert books(ended.ledger) == books(whole.ledger)
    assert same_state(again.state_dict(), strategy.state_dict())


def test_a_second_ctrl_c_stops_at_once():
    r = run("strategy=ewc", *SCOLE)
    saved: list[Any] = []
    strategy, outcome = go(
        r,
        interrupting(r.strategy(), 3, [signal.SIGINT, signal.SIGINT]),
        lambda b, s: saved.append(frozen(b, s)),
    )
    assert outcome.status == "interrupted"
    assert outcome.ledger.experiences == 2
    assert saved == []
    record = record_of(r, strategy, outcome)
    assert record.error is None
    assert (
        record.stream_sha256
        == go(run("strategy=naive", *SCOLE[:1], "scenario.n_tasks=6", "max_tasks=2"))[
            1
        ].ledger.stream_sha256
    )


def test_divergence_is_a_status_and_never_a_nan(tmp_path: Any):
    r = run("strategy=naive", *SCOLE, "strategy.lr=1e30", "strategy.clip_norm=null")
    strategy, outcome = go(r)
    assert outcome.status == "diverged"
    record = record_of(r, strategy, outcome)
    assert record.error is not None
    assert record.error["type"] == "Diverged"
    record.save(tmp_path / "record.json")
    text = (tmp_path / "record.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_divergence_between_rare_evaluations_is_found_at_the_next():
    r = run("strategy=ewc", *SCOLE, "strategy.lr=1e30", "strategy.clip_norm=null", "eval_every=100")
    assert go(r)[1].status == "diverged"


@pytest.mark.parametrize("method", ["learn", "prepare", "forward", "diagnostics"])
def test_a_raising_strategy_ends_as_an_error(method: str):
    r = run("strategy=naive", *SCOLE)
    strategy = r.strategy()

    def broken(*args: Any) -> Any:
        raise LookupError("no /home/somebody/secret.txt here\nsecond line")

    setattr(strategy, method, broken)
    _, outcome = go(r, strategy)
    assert outcome.status == "error"
    record = record_of(r, strategy, outcome)
    assert record.error is not None
    assert record.error["type"] == "LookupError"
    assert record.error["message"].startswith("no secret.txt here")
    assert "somebody" not in json.dumps(record.error)
    assert "\n" not in record.error["message"]


def test_what_a_run_changes_in_the_process_is_put_back():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    threads = torch.get_num_threads()
    r = run("strategy=joint", *SCOLE, f"threads={threads + 1}")
    go(r)
    go(r, interrupting(r.strategy(), 1, [signal.SIGINT]))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == str(before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
