"""The loop: resume gives the same bits, evaluation costs the same, ends are records."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from small import go, run
from torch import Tensor

from clbench.engine.build import Run
from clbench.engine.harness import Outcome, run_stream
from clbench.engine.ledger import Ledger
from clbench.strategy import Strategy

SCOLE = ("scenario=scole", "scenario.n_tasks=6")
TIMES = (
    *("train_seconds", "prepare_seconds", "counted_prepare_seconds"),
    *("predict_seconds", "harness_seconds"),
)


def books(ledger: Ledger) -> dict[str, Any]:
    """All but the clocks."""
    return {k: v for k, v in ledger.to_dict().items() if k not in TIMES}


def same_state(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same_state(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def frozen(ledger: Ledger, state: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """A checkpoint, as it comes back from a file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return copy.deepcopy(ledger.to_dict()), buffer.getvalue()


def resumed(r: Run, saved: tuple[dict[str, Any], bytes]) -> tuple[Strategy, Outcome]:
    strategy = r.strategy()
    strategy.load_state_dict(torch.load(io.BytesIO(saved[1]), weights_only=True))
    ledger = Ledger.from_dict(copy.deepcopy(saved[0]))
    return strategy, run_stream(r, strategy, ledger)


CASES = [
    ("strategy=naive", *SCOLE),
    ("strategy=naive", *SCOLE, "strategy.optimizer=adam", "strategy.epochs=2"),
    ("strategy=naive", *SCOLE, "strategy.momentum=0.9", "strategy.weight_decay=0.01"),
    ("strategy=naive", *SCOLE, "strategy.schedule=cosine", "strategy.optimizer=adafactor"),
    ("strategy=ewc", *SCOLE, "strategy.momentum=0.5"),
    ("strategy=ewc", *SCOLE, "strategy.mode=separate"),
    ("strategy=ewc", *SCOLE, "strategy.penalty_step=explicit", "strategy.fisher=sampled"),
    (
        "strategy=ewc",
        *SCOLE,
        "strategy.mode=separate",
        "strategy.penalty_step=explicit",
        "strategy.optimizer=adam",
    ),
    ("strategy=naive", *SCOLE, "strategy.mask=group", "strategy.mask_scope=task"),
    ("strategy=ewc", *SCOLE, "strategy.mask=group_zero", "scenario.chunk=10"),
    (
        "strategy=naive",
        *SCOLE,
        "strategy.reset_optimizer=true",
        "strategy.optimizer=adam",
        "model.head=weight_norm",
        "model=mlp",
    ),
    ("strategy=ema", *SCOLE, "strategy.half_life=50"),
    ("strategy=gradient_noise", *SCOLE, "strategy.clock=task"),
    ("strategy=shrink_and_perturb", *SCOLE, "strategy.every=step"),
    (
        "strategy=continual_backprop",
        *SCOLE,
        "strategy.maturity=3",
        "strategy.replacement_rate=0.2",
        "strategy.optimizer=adam",
        "strategy.batch_size=5",
    ),
    ("strategy=joint", *SCOLE),
    ("strategy=joint", *SCOLE, "strategy.budget=full", "strategy.optimizer=adam"),
    ("strategy=joint", *SCOLE, "strategy.budget=scratch", "strategy.momentum=0.9"),
    ("strategy=ewc", *SCOLE, "scenario.chunk=10", "eval_every=4"),
    ("strategy=joint", *SCOLE, "scenario.chunk=10"),
    ("strategy=naive", *SCOLE, "scenario.prob_reduction=2"),
    *[
        (f"strategy={s}", f"scenario={name}", "scenario.n_tasks=4")
        for s in ("naive", "ewc", "joint")
        for name in ("class_incremental", "task_incremental", "domain_incremental")
    ],
    (
        "strategy=ewc",
        "scenario=domain_incremental",
        "scenario.n_tasks=40",
        "scenario.chunk=30",
        "max_tasks=3",
        "eval_every=log",
    ),
]


@pytest.mark.parametrize("words", CASES, ids=lambda words: " ".join(words))
def test_resume_after_every_experience_gives_the_same_bits(words: tuple[str, ...]):
    r = run(*words, "checkpoint_seconds=0")
    saved: list[tuple[dict[str, Any], bytes]] = []
    strategy, whole = go(r, save=lambda ledger, state: saved.append(frozen(ledger, state)))
    assert whole.error is None
    assert whole.status == "completed"
    done = [ledger["experiences"] for ledger, _ in saved]
    assert sorted(set(done)) == list(range(1, whole.ledger.experiences + 1))
    for checkpoint in saved:
        again, outcome = resumed(r, checkpoint)
        assert outcome.error is None
        assert books(outcome.ledger) == books(whole.ledger)
        assert same_state(again.state_dict(), strategy.state_dict())


def test_runs_do_not_depend_on_what_ran_before():
    words = ("strategy=joint", *SCOLE, "strategy.optimizer=adam")
    first, a = go(run(*words))
    go(run("strategy=ewc", *SCOLE, "seed=4"))
    torch.manual_seed(99)
    second, b = go(run(*words))
    assert books(a.ledger) == books(b.ledger)
    assert same_state(first.state_dict(), second.state_dict())


def test_seeds_give_other_streams_and_other_weights():
    a, first = go(run("strategy=naive", *SCOLE))
    b, second = go(run("strategy=naive", *SCOLE, "seed=1"))
    assert first.ledger.stream_sha256 != second.ledger.stream_sha256
    assert not same_state(a.state_dict(), b.state_dict())


def test_the_stream_does_not_depend_on_the_strategy():
    hashes = {
        go(run(f"strategy={s}", *SCOLE, *more))[1].ledger.stream_sha256
        for s, more in (("naive", ()), ("ewc", ("strategy.fisher=sampled",)), ("joint", ()))
    }
    assert len(hashes) == 1


def test_extending_an_endless_run_gives_the_bits_of_a_single_one():
    words = ("strategy=ewc", "scenario=scole", "scenario.n_tasks=null", "eval_every=3")
    saved: list[tuple[dict[str, Any], bytes]] = []
    _short, first = go(
        run(*words, "max_tasks=5"), save=lambda ledger, state: saved.append(frozen(ledger, state))
    )
    assert first.ledger.evaluated_after == [0, 3, 5]
    longer = run(*words, "max_tasks=11")
    extended, outcome = resumed(longer, saved[-1])
    single, wanted = go(longer)
    assert wanted.ledger.evaluated_after == [0, 3, 6, 9, 11]
    assert books(outcome.ledger) == books(wanted.ledger)
    assert same_state(extended.state_dict(), single.state_dict())
