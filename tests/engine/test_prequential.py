"""Predictions before learning, against loops in plain torch; labels that come late."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from oracles.bare import Net, Samples, Sgd, Training, grad
from small import go, record_of, run
from test_harness import SCOLE, books, frozen, resumed, same_state

from clbench.engine import prequential
from clbench.engine.build import Run
from clbench.engine.ledger import Ledger
from clbench.errors import UsageError
from clbench.strategy import Strategy
from clbench.stream import Draw, Stream, TaskData

STREAMS: dict[str, tuple[str, ...]] = {
    "recurring": (*SCOLE, "scenario.chunk=7"),
    "whole tasks": SCOLE,
    "disjoint": ("scenario=class_incremental", "scenario.chunk=5"),
    "told": ("scenario=task_incremental",),
    "domains": ("scenario=domain_incremental", "scenario.n_tasks=3", "scenario.chunk=11"),
}


def experiences(r: Run) -> list[TaskData]:
    assert r.n_tasks is not None
    return [r.stream.experience(t) for t in range(r.stream.n_experiences(r.n_tasks))]


class Loop:
    """Fine-tuning in float64, written from the definitions."""

    def __init__(self, r: Run, strategy: Strategy) -> None:
        parts = [p.detach().flatten() for p in strategy.model.parameters()]  # type: ignore[union-attr]
        self.w = torch.cat(parts)
        self.net = Net(self.w, [6, 8, r.stream.n_classes])
        self.training = Training(clip_norm=10.0)
        self.sgd = Sgd(self.training)

    def samples(self, task: TaskData, n_classes: int) -> Samples:
        opened = torch.ones(len(task), n_classes, dtype=torch.bool)
        if task.task_id is not None:
            opened = torch.zeros_like(opened)
            opened[:, task.y.unique()] = True
        return Samples([], task.x.double(), task.y, opened)

    def right(self, s: Samples) -> int:
        scores = self.net.logits(self.w, s.x).masked_fill(~s.open, -torch.inf)
        return int((scores.argmax(1) == s.y).sum())

    def learn(self, s: Samples) -> None:
        for at in range(0, len(s.y), 32):
            part = Samples([], s.x[at : at + 32], s.y[at : at + 32], s.open[at : at + 32])
            self.w = self.sgd.step(self.w, grad(lambda w, p=part: self.net.ce(w, p), self.w))  # type: ignore[misc]


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize("stream", STREAMS)
def test_counts_are_those_of_a_loop_in_plain_torch(stream: str, delay: int):
    words = ("prequential=true", "prequential_ahead=2", f"label_delay={delay}")
    r = run("strategy=naive", *STREAMS[stream], *words)
    strategy = r.strategy().double()
    loop = Loop(r, strategy)
    _, outcome = go(r, strategy)
    assert outcome.status == "completed"
    given = [loop.samples(task, r.stream.n_classes) for task in experiences(r)]
    right, ahead = [], []
    for t, task in enumerate(given):
        right.append(loop.right(task))
        ahead.append(loop.right(given[t + 2]) if t + 2 < len(given) else 0)
        if t >= delay:
            loop.learn(given[t - delay])
    found = outcome.ledger.online
    assert found.size == [len(task.y) for task in given]
    assert found.correct == right
    assert found.ahead == ahead
    assert max(right) > 0
    assert len(set(right)) > 1 or len(right) < 3


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize("stream", STREAMS)
def test_the_baseline_is_that_of_brute_force(stream: str, delay: int):
    """Of every sample: the last label of all that had come, in one list of all labels."""
    r = run("strategy=naive", *STREAMS[stream], "prequential=true", f"label_delay={delay}")
    _, outcome = go(r)
    labels = [task.y.tolist() for task in experiences(r)]
    wanted = []
    for t, here in enumerate(labels):
        known = [y for earlier in labels[: max(0, t - delay)] for y in earlier]
        wanted.append(sum(y == known[-1] for y in here) if known else 0)
    assert outcome.ledger.online.blind == wanted


def test_what_is_counted_by_class_adds_up():
    r = run("strategy=naive", *STREAMS["disjoint"], "prequential=true")
    _, outcome = go(r)
    found = outcome.ledger.online
    labels = torch.cat([task.y for task in experiences(r)])
    assert found.class_size == torch.bincount(labels).tolist()
    assert sum(found.class_correct) == sum(found.correct)


def test_of_many_classes_nothing_is_counted_by_class(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prequential, "MOST_CLASSES", 3)
    r = run("strategy=naive", *SCOLE, "prequential=true")
    record = record_of(r, *go(r))
    assert record.online is not None
    assert record.online["classes"] is None


def test_unlabelled_samples_do_not_count(monkeypatch: pytest.MonkeyPatch):
    """Every third sample has no label: neither in the sizes nor as the last label."""
    gather = Stream.gather

    def unlabelled(stream: Stream, draw: Draw) -> TaskData:
        task = gather(stream, draw)
        y = task.y.clone()
        y[2::3] = -1
        return dataclasses.replace(task, y=y)

    monkeypatch.setattr(Stream, "gather", unlabelled)
    r = run("strategy=naive", *SCOLE, "scenario.chunk=6", "prequential=true")
    _, outcome = go(r)
    labels = [[y for y in task.y.tolist() if y >= 0] for task in experiences(r)]
    found = outcome.ledger.online
    assert found.size == [len(here) for here in labels] == [4] * len(labels)
    wanted = [
        here.count(before[-1]) if before else 0
        for before, here in zip([[], *labels], labels, strict=False)
    ]
    assert found.blind == wanted


SAME = (
    *("naive", "ewc", "si", "er", "derpp", "mir", "agem", "er_ace", "lwf"),
    *("continual_backprop", "slda", "ridge", "knn"),
)


@pytest.mark.parametrize("strategy", SAME)
def test_what_is_learnt_does_not_depend_on_predictions(strategy: str):
    words = (f"strategy={strategy}", *SCOLE, "scenario.chunk=9")
    a, without = go(run(*words))
    b, with_it = go(run(*words, "prequential=true", "prequential_ahead=3"))
    assert without.error is None
    assert same_state(a.state_dict(), b.state_dict())
    assert with_it.ledger.online.samples > 0
    mine, theirs = books(with_it.ledger), books(without.ledger)
    for counts in (mine, theirs):  # prepare is called after every experience, and counted
        for name in ("online", "prepared", "prepared_last", "prepares"):
            del counts[name]
    assert mine == theirs


class Prepares(Strategy):
    """Notes the order of calls; it answers class 0."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.calls: list[str] = []

    def learn(self, task: TaskData) -> None:
        self.calls.append("learn")

    def prepare(self) -> None:
        self.calls.append("prepare")

    def forward(self, x: torch.Tensor, task_id: torch.Tensor | None = None) -> torch.Tensor:
        assert not self.training
        self.calls.append(f"predict {len(x)}")
        return torch.eye(self.info.n_classes)[torch.zeros(len(x), dtype=torch.int64)]


def calls(*words: str) -> list[str]:
    r = run("strategy=naive", *SCOLE, "max_tasks=3", *words)
    strategy = Prepares(r.info(), Strategy.Config(), None)
    _, outcome = go(r, strategy)
    assert outcome.error is None
    return strategy.calls


def test_order_of_calls():
    """24 samples an experience, 20 in the world."""
    world, here, learnt = "predict 20", "predict 24", ["learn", "prepare"]
    each = [here, *learnt, world]
    assert calls("prequential=true") == [world, *each * 3]
    rarely = calls("prequential=true", "eval_every=100")
    assert rarely == [world, *[here, *learnt] * 3, world], "it is prepared once"
    assert calls("label_delay=1") == [world, world, *[*learnt, world] * 2]
    nothing = calls("label_delay=5", "eval_every=100", "prequential=true")
    assert nothing == [world, here, here, here, world], "nothing learnt, nothing prepared"


@pytest.mark.parametrize("delay", [1, 2, 4])
def test_late_labels_are_those_of_the_shifted_stream(delay: int):
    """After n experiences the strategy is that of n - delay experiences without delay."""
    words = ("strategy=ewc", "scenario=scole", "scenario.n_tasks=null", "strategy.momentum=0.5")
    late, outcome = go(run(*words, "max_tasks=7", f"label_delay={delay}"))
    early, shifted = go(run(*words, f"max_tasks={7 - delay}"))
    full = go(run(*words, "max_tasks=7"))[1]
    assert same_state(late.state_dict(), early.state_dict())
    assert outcome.ledger.correct[-1] == shifted.ledger.correct[-1]
    assert outcome.ledger.correct[: delay + 1] == [outcome.ledger.correct[0]] * (delay + 1)
    for name in ("samples", "updates"):
        assert getattr(outcome.ledger, name) == getattr(shifted.ledger, name)
    assert outcome.ledger.stream_sha256 == full.ledger.stream_sha256
    assert outcome.ledger.task_end == full.ledger.task_end


CASES = [
    ("strategy=naive", *SCOLE, "prequential=true", "prequential_ahead=2"),
    ("strategy=er", *SCOLE, "scenario.chunk=9", "prequential=true", "label_delay=2"),
    ("strategy=gdumb", *SCOLE, "prequential=true", "eval_every=3"),
    ("strategy=ewc", "scenario=task_incremental", "prequential=true", "label_delay=1"),
    ("strategy=ewc", *SCOLE, "label_delay=2", "eval_every=4"),
]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_resume_after_every_experience_gives_the_same_bits(words: tuple[str, ...]):
    r = run(*words, "checkpoint_seconds=0")
    saved: list[tuple[dict[str, Any], bytes]] = []
    strategy, whole = go(r, save=lambda ledger, state: saved.append(frozen(ledger, state)))
    assert whole.status == "completed"
    for checkpoint in saved:
        again, outcome = resumed(r, checkpoint)
        assert books(outcome.ledger) == books(whole.ledger)
        assert same_state(again.state_dict(), strategy.state_dict())
    assert record_of(r, strategy, whole).online == record_of(r, again, outcome).online


def test_checkpoints_from_before_predictions_are_read():
    old = Ledger("", "").to_dict()
    del old["online"]
    assert Ledger.from_dict(old) == Ledger("", "")


def test_an_extended_run_has_the_predictions_of_a_single_one():
    words = ("strategy=er", "scenario=scole", "scenario.n_tasks=null", "prequential=true")
    words += ("prequential_ahead=4",)
    saved: list[tuple[dict[str, Any], bytes]] = []
    go(run(*words, "max_tasks=5"), save=lambda ledger, state: saved.append(frozen(ledger, state)))
    longer = run(*words, "max_tasks=11")
    extended, outcome = resumed(longer, saved[-1])
    single, wanted = go(longer)
    assert books(outcome.ledger) == books(wanted.ledger)
    assert same_state(extended.state_dict(), single.state_dict())


def test_an_experience_that_cannot_be_learnt_is_not_in_the_record(
    monkeypatch: pytest.MonkeyPatch,
):
    r = run("strategy=naive", *SCOLE, "prequential=true")
    strategy = r.strategy()
    learn, learnt = strategy.learn, []

    def fails(task: TaskData) -> None:
        if len(learnt) == 2:
            raise RuntimeError("no")
        learnt.append(task)
        learn(task)

    monkeypatch.setattr(strategy, "learn", fails)
    record = record_of(r, *go(r, strategy))
    assert record.status == "error"
    assert record.online is not None
    assert len(record.online["correct"]) == record.stream["experiences"] == 2


def test_scores_that_are_no_numbers_end_the_run(monkeypatch: pytest.MonkeyPatch):
    r = run("strategy=naive", *SCOLE, "prequential=true", "eval_every=100")
    strategy = r.strategy()
    forward = strategy.forward
    passes = []

    def broken(x: torch.Tensor, task_id: torch.Tensor | None = None) -> torch.Tensor:
        passes.append(len(x))
        return forward(x, task_id) * (torch.nan if len(passes) == 3 else 1)

    monkeypatch.setattr(strategy, "forward", broken)
    _, outcome = go(r, strategy)
    assert outcome.status == "diverged"
    assert str(outcome.error) == "scores are not numbers before experience 2"


def test_predictions_are_counted_in_full_batches(monkeypatch: pytest.MonkeyPatch):
    """The operations of predictions are closed forms; batches have one size, but the last."""
    monkeypatch.setattr(prequential, "BATCH_SIZE", 10)
    words = ("strategy=naive", *SCOLE)
    r = run(*words, "prequential=true")
    strategy = r.strategy()
    sizes: list[int] = []
    strategy.model.register_forward_hook(  # type: ignore[union-attr]
        lambda module, args, out: sizes.append(len(out)) if not module.training else None
    )
    cost = record_of(r, *go(r, strategy)).cost
    assert sizes == [20, *[10, 10, 4, 20] * 6]
    bare = run(*words)
    plain = record_of(bare, *go(bare)).cost
    forward = 2 * (6 * 8 + 8 * 4)
    assert cost["predict_flops"] - plain["predict_flops"] == 6 * 24 * forward
    assert cost["train_flops"] == plain["train_flops"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("prequential_ahead=3",), "prequential_ahead=3 goes with prequential=true"),
        (("prequential_window=5",), "prequential_window=5 goes with prequential=true"),
        (("prequential=true", "prequential_window=0"), "prequential_window=0 must be at least 1"),
        (("prequential=true", "prequential_ahead=-1"), "prequential_ahead=-1 must be at least 0"),
        (("label_delay=-1",), "label_delay=-1 must be at least 0"),
        (("realtime=0",), "realtime=0.0 must be finite and positive"),
        (("realtime=inf",), "realtime=inf must be finite and positive"),
        (("realtime=1", "compile=true"), "drop compile=true"),
    ],
)
def test_wrong_settings_are_told(words: tuple[str, ...], told: str):
    with pytest.raises(UsageError, match=told):
        run("strategy=naive", *SCOLE, *words)


def test_only_settings_that_are_set_belong_to_the_run():
    plain, same = (
        run("strategy=naive", *SCOLE, *words)
        for words in ((), ("label_delay=0", "realtime=null", "prequential=false"))
    )
    assert plain.run_sha256 == same.run_sha256
    others = [("prequential=true",), ("label_delay=1",), ("realtime=1",), ("realtime=2",)]
    others += [("prequential=true", "prequential_window=9")]
    found = {run("strategy=naive", *SCOLE, *words).run_sha256 for words in others}
    assert len({*found, plain.run_sha256}) == 1 + len(others)
    one, two = (
        run("strategy=naive", *SCOLE, "realtime=1", *w) for w in ((), ("prequential=true",))
    )
    assert one.run_sha256 == two.run_sha256
