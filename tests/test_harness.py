"""The loop: resume gives the same bits, evaluation costs the same, ends are records."""

from __future__ import annotations

import copy
import io
import json
import random
import signal
from typing import Any

import numpy as np
import pytest
import torch
from small import go, pool, record_of, run
from torch import Tensor

from clbench.build import Run
from clbench.harness import Outcome, is_due, run_stream, start_ledger
from clbench.ledger import Ledger, tensors_of
from clbench.strategy import Strategy

SCOLE = ("scenario=scole", "scenario.n_tasks=6")
TIMES = ("train_seconds", "predict_seconds", "harness_seconds")


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


# --- resume --------------------------------------------------------------------------------------

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


# --- evaluations ---------------------------------------------------------------------------------


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


# --- how runs end --------------------------------------------------------------------------------


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


# --- costs ---------------------------------------------------------------------------------------


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
    copies = {"naive": 1, "ewc": 3}[strategy] + len(more)
    assert state_bytes(2) == state_bytes(30) == copies * 4 * n_weights + 4


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
