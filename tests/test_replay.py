"""The replay strategies against the equations of their papers."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import go, pool, run
from torch import Tensor

from clbench.engine.build import Run
from clbench.engine.ledger import state_bytes
from clbench.errors import UsageError
from clbench.plugins.registry import find
from clbench.replay import Mixed, mix, n_new
from clbench.strategy import Batch

CLASSES = ("scenario=class_incremental", "scenario.n_tasks=2")
MIXING = ["er", "der", "derpp", "er_ace", "mir"]


def build(name: str, *words: str) -> tuple[Run, Any]:
    r = run(f"strategy={name}", *CLASSES, "strategy.batch_size=4", *words)
    strategy: Any = r.strategy().double()
    strategy.bind()
    return r, strategy


def drawn(name: str, *words: str) -> tuple[Run, Any, Batch, Mixed]:
    """A strategy in its second task, a batch of that, and what became of it."""
    r, strategy = build(name, *words)
    strategy.learn(r.stream.experience(0))
    task = r.stream.experience(1)
    strategy.begin(task)
    new = Batch(task.x[:4], task.y[:4], None, task.classes)
    return r, strategy, new, strategy.draw(new)


def ce(strategy: Any, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy from its definition."""
    p = strategy.model(x).softmax(1)
    return -p[torch.arange(len(y)), y].log().mean()


@pytest.mark.parametrize("name", MIXING)
def test_a_batch_is_the_new_samples_and_then_stored_ones(name: str):
    r, _, new, batch = drawn(name, "strategy.replay_batch=6")
    assert n_new(batch) == 4
    assert len(batch.y) == 4 + (12 if name == "derpp" else 6)
    assert torch.equal(batch.x[:4], new.x)
    first = r.stream.experience(0)
    for x, y in zip(batch.x[4:], batch.y[4:], strict=True):
        [at] = (first.x == x).all(1).nonzero().squeeze(1).tolist()
        assert first.y[at] == y


def test_a_sample_is_replayed_from_the_step_after_its_own():
    r, strategy = build("er", "strategy.memory_size=100")
    task = r.stream.experience(0)
    strategy.begin(task)
    parts = list(strategy.batches(task))
    for step, part in enumerate(parts):
        assert strategy.n_live == 4 * step
        batch = strategy.draw(part)
        for x in batch.x[4:]:
            assert (task.x[: 4 * step] == x).all(1).any()
    assert int(strategy.memory.filled) == len(task)


def test_agem_replays_earlier_experiences_only():
    r, strategy = build("agem")
    strategy.begin(r.stream.experience(0))
    assert strategy.n_live == 0
    _, strategy, _, _ = drawn("agem")
    first = r.stream.experience(0)
    assert strategy.n_live == len(first)
    stored = strategy.recall(20, first.x)
    for x, y in zip(stored.x, stored.y, strict=True):
        [at] = (first.x == x).all(1).nonzero().squeeze(1).tolist()
        assert first.y[at] == y


@pytest.mark.parametrize("policy", ["ring", "class_balanced", "herding", "task_balanced"])
@pytest.mark.parametrize("scenario", ["scole", "task_incremental"])
@pytest.mark.parametrize("name", ["er", "der"])
def test_every_policy_fills_the_memory_of_every_sort_of_stream(
    policy: str, scenario: str, name: str
):
    words = ("scenario.n_tasks=2", f"strategy.policy={policy}", "strategy.memory_size=15")
    r = run(f"strategy={name}", f"scenario={scenario}", *words)
    strategy: Any
    strategy, outcome = go(r)
    assert outcome.error is None
    memory = strategy.memory
    assert int(memory.filled) == 15
    stream = [r.stream.experience(t) for t in range(2)]
    x, key = (torch.cat([getattr(task, part) for task in stream]) for part in ("x", "key"))
    for slot in range(15):
        at = int((key == memory.key[slot]).nonzero()[0])
        assert torch.equal(memory.x[slot], x[at])
    if name == "der":
        assert memory.logits.any(1).all()


def test_er_loss_is_the_mean_over_the_mixed_batch():
    _, strategy, _, batch = drawn("er")
    torch.testing.assert_close(strategy.loss(batch), ce(strategy, batch.x, batch.y))


def test_er_ace_loss():
    """CE among the classes of the new batch, plus CE among all seen, on fixed tensors."""
    _, strategy, _, batch = drawn("er_ace")
    new_classes = sorted(set(batch.y[:4].tolist()))
    old_classes = sorted(
        {0, 1, 2, 3} & (set(torch.where(strategy.seen)[0].tolist()) | {*new_classes})
    )
    scores = strategy.model(batch.x)

    def part(rows: slice, among: list[int]) -> Tensor:
        z, y = scores[rows][:, among], batch.y[rows]
        at = torch.tensor([among.index(int(label)) for label in y])
        return (z.logsumexp(1) - z[torch.arange(len(y)), at]).mean()

    wanted = part(slice(0, 4), new_classes) + part(slice(4, None), old_classes)
    torch.testing.assert_close(strategy.loss(batch), wanted)
    assert strategy.seen.sum() == len(old_classes)


def test_agem_projection_is_the_closed_form():
    project = _module("agem").project
    torch.manual_seed(0)
    for _ in range(20):
        g, m = torch.randn(2, 50, dtype=torch.float64)
        found = project(g, m)
        if g @ m >= 0:
            assert torch.equal(found, g)
        else:
            torch.testing.assert_close(found, g - (g @ m) / (m @ m) * m)
            assert abs(float(found @ m)) < 1e-10
    g = torch.ones(5)
    assert torch.equal(project(g, torch.zeros(5)), g)


@pytest.mark.parametrize("against", [False, True])
def test_agem_step(against: bool, monkeypatch: pytest.MonkeyPatch):
    """The step follows g, or its projection where the memory's gradient points against it."""
    _, strategy, new, _ = drawn("agem", "strategy.clip_norm=null")
    # The same samples on both sides, with the same or with other labels.
    stored = Batch(new.x, (new.y + against) % 4)
    monkeypatch.setattr(strategy, "recall", lambda n, like: stored)
    g, m = (strategy.gradient(batch) for batch in (new, stored))
    assert (float(g @ m) < 0) == against
    wanted = g - min(0.0, float(g @ m)) / (m @ m) * m
    before = strategy.weights.clone()
    strategy.step(new)
    torch.testing.assert_close(strategy.weights, before - 0.1 * wanted)


def test_agem_augments_what_it_recalls(monkeypatch: pytest.MonkeyPatch):
    """The training loop augments the new samples only: those of the memory come after it."""
    _, strategy, new, _ = drawn("agem")
    monkeypatch.setattr(_module("agem"), "augment", lambda name, x: torch.zeros_like(x))
    given: list[Tensor] = []
    loss = strategy.loss
    monkeypatch.setattr(strategy, "loss", lambda batch: (given.append(batch.x), loss(batch))[1])
    strategy.step(new)
    assert len(given) == 2
    assert torch.equal(given[0], new.x)
    assert not given[1].any()
    assert len(given[1]) == strategy.replay_batch


def test_mir_replays_the_samples_that_a_virtual_step_hurts_most():
    words = ("strategy.replay_batch=3", "strategy.candidates=1000", "strategy.clip_norm=null")
    _, strategy, new, batch = drawn("mir", *words)
    w = strategy.weights.clone()
    held = strategy.memory
    slots = strategy.live.slots[: strategy.live.n_earlier]
    x, y = held.x[slots].double(), held.y[slots]
    before = F.cross_entropy(strategy.model(x), y, reduction="none")
    strategy.weights.sub_(0.1 * strategy.gradient_of(ce(strategy, new.x.double(), new.y)))
    after = F.cross_entropy(strategy.model(x), y, reduction="none")
    strategy.weights.copy_(w)
    worst = (after - before).topk(3).indices
    assert torch.equal(batch.x[4:].double(), x[worst])
    # Drawing has left the weights alone.
    _, _, _, again = drawn("mir", *words)
    assert torch.equal(batch.x, again.x)


def test_gdumb_learns_nothing_from_the_stream_and_starts_anew_at_every_evaluation():
    r, strategy = build("gdumb", "strategy.memory_size=6")
    before = strategy.weights.clone()
    for t in range(2):
        strategy.learn(r.stream.experience(t))
    assert torch.equal(strategy.weights, before)
    assert sorted(strategy.memory.y.bincount().tolist()) == [1, 1, 2, 2]
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        strategy.prepare()
        found.append(strategy.weights.clone())
    assert torch.equal(*found)
    assert not torch.equal(found[0], before)


def test_scole_random_replay_brings_whole_classes_that_are_not_in_the_task():
    r = run(
        "strategy=scole_replay", "scenario=scole", "scenario.n_tasks=30", "strategy.memory_size=20"
    )
    strategy: Any = r.strategy()
    seen: set[int] = set()
    for t in range(30):
        task = r.stream.experience(t)
        joined = strategy.begin(task)
        assert len(joined.key.unique()) == len(joined)
        here, extra = set(task.y.tolist()), joined.y[torch.isin(joined.key, task.key, invert=True)]
        others = seen - here
        assert set(extra.tolist()) <= others
        assert len(extra.unique()) == min(2, len(others))
        assert (extra.bincount()[extra.unique()] == 5).all()
        before = strategy.key.clone()
        n = strategy.occurrences.clone()
        strategy.consolidate(joined)
        changed = (strategy.key != before).view(4, 5).sum(1)
        for c in range(4):
            limit = 5 if n[c] == 0 else max(int(5 / (n[c] + 1)), 1)
            assert changed[c] <= (limit if c in here else 0)
        stored = strategy._stored_keys()
        assert len(stored.unique()) == len(stored)
        seen |= here


def test_scole_frequency_replay_brings_the_rarest_within_its_band():
    words = ("strategy.choose=frequency", "strategy.low=0.05", "strategy.high=0.2")
    r = run("strategy=scole_replay", "scenario=scole", *words, on=pool(n_classes=6))
    strategy: Any = r.strategy()
    strategy.occurrences.copy_(torch.tensor([50, 20, 4, 6, 2, 19]))
    strategy.n_tasks.fill_(100)
    assert strategy._chosen({5, 0}) == [3, 1]  # 2 too rare, 4 below three occurrences
    strategy.n_tasks.fill_(50)
    assert strategy._chosen({0, 5}) == [2, 3]


@pytest.mark.parametrize("name", [*MIXING, "agem", "gdumb", "generative_replay", "scole_replay"])
def test_state_is_constant_over_a_recurring_stream(name: str):
    """From the second experience (when an optimizer's state is there) to the last."""
    r = run(f"strategy={name}", "scenario=scole", "scenario.n_tasks=6", "strategy.batch_size=8")
    strategy: Any = r.strategy()
    sizes = []
    for t in range(6):
        strategy.learn(r.stream.experience(t))
        sizes.append(state_bytes(strategy.state_dict()))
    assert len(set(sizes)) == 1
    assert strategy.memory_bytes() < sizes[0]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["reservoir", "ring", "task_balanced"])
def test_state_is_constant_over_ten_thousand_tasks(policy: str):
    """New tasks are admitted to the end where there are so many more of them than slots."""
    words = ("scenario.chunk=6", "scenario.n_tasks=null", "strategy.memory_size=20")
    r = run("strategy=er", "scenario=scole", *words, f"strategy.policy={policy}")
    strategy: Any = r.strategy()
    strategy.learn(r.stream.experience(0))
    size = state_bytes(strategy.state_dict())
    for t in range(1, 10_000):
        strategy.learn(r.stream.experience(t))
    assert state_bytes(strategy.state_dict()) == size
    if policy != "reservoir":  # its sample of the 48 in the world stands
        assert int(strategy.memory.stamp.max()) > 5000


@pytest.mark.parametrize("name", [*MIXING, "agem", "gdumb", "scole_replay"])
def test_memory_bytes_is_a_bound_that_is_used(name: str):
    _, strategy = build(name, "strategy.memory_bytes=5000")
    assert 5000 / 2 < strategy.float().memory_bytes() <= 5000


def test_memory_dtype():
    words = ("strategy=er", *CLASSES, "strategy.memory_dtype=float16")
    strategy: Any = run(*words).strategy()
    assert strategy.memory.x.dtype == torch.float16
    with pytest.raises(UsageError, match=r"memory_dtype=float16: these samples are torch.uint8"):
        run(*words, on=pool(shape=(4, 4))).strategy()


@pytest.mark.parametrize(
    "words",
    [
        ("strategy=er", "strategy.memory_size=0"),
        ("strategy=er", "strategy.memory_size=-3"),
        ("strategy=er", "strategy.memory_bytes=-1"),
        ("strategy=er", "strategy.memory_bytes=10"),
        ("strategy=gdumb", "strategy.memory_bytes=10"),
        ("strategy=scole_replay", "strategy.memory_size=3"),
        ("strategy=er", "strategy.memory_size=5", "strategy.memory_bytes=5000"),
        ("strategy=er", "strategy.replay_batch=0"),
        ("strategy=der", "strategy.alpha=-1"),
        ("strategy=derpp", "strategy.beta=-1"),
        ("strategy=mir", "strategy.candidates=3"),
        ("strategy=generative_replay", "strategy.new_share=1"),
        ("strategy=generative_replay", "strategy.latent_size=0"),
        ("strategy=scole_replay", "strategy.low=0.5"),
    ],
)
def test_refusals(words: tuple[str, ...]):
    with pytest.raises(UsageError) as caught:
        run(*words, *CLASSES).strategy()
    assert "\n" not in str(caught.value)


def test_mix_keeps_task_ids_and_the_replayed_parts_extra():
    new = Batch(torch.zeros(2, 3), torch.zeros(2).long(), torch.tensor([1, 1]))
    old = Batch(
        torch.ones(3, 3), torch.ones(3).long(), torch.tensor([0, 0, 0]), extra={"z": torch.ones(3)}
    )
    mixed = mix(new, old)
    assert mixed.task_id is not None
    assert mixed.task_id.tolist() == [1, 1, 0, 0, 0]
    assert (mixed.n_new, len(mixed.extra["z"])) == (2, 3)
    assert math.isclose(float(mixed.x.sum()), 9)


def _module(name: str) -> Any:
    return sys.modules[find("strategy", name).load().__module__]
