"""Ridge, nearest neighbours, the head with latent replay and the key-value bottleneck."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from small import go, run

from clbench.errors import UsageError
from clbench.memory.buffer import SampleMemory, slot_layout
from clbench.plugins.registry import find
from clbench.strategy import Batch, StreamInfo
from clbench.stream import TaskData

N_CLASSES, WIDTH = 4, 6
INFO = StreamInfo((WIDTH,), torch.float32, 1.0, N_CLASSES, None)


def build(name: str, info: StreamInfo = INFO, **settings: Any) -> Any:
    cls = find("strategy", name).load()
    torch.manual_seed(0)
    return cls(info, cls.Config(**settings), lambda: torch.nn.Linear(WIDTH, N_CLASSES))


def samples(n: int, seed: int = 0, start: int = 0) -> TaskData:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(N_CLASSES, (n,), generator=g)
    x = F.one_hot(y, WIDTH) + 0.4 * torch.randn(n, WIDTH, generator=g)
    return TaskData(x, y, torch.arange(start, start + n))


def learnt(strategy: Any, *tasks: TaskData) -> Any:
    for task in tasks:
        strategy.learn(task)
        strategy.prepare()
    return strategy


@given(batch_size=st.integers(1, 60), lam=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_ridge_is_that_of_scikit_learn_on_all_that_was_seen(batch_size: int, lam: float):
    ridge = build("ridge", projection=30, lam=lam, batch_size=batch_size).double()
    parts = [samples(25, 1), samples(40, 2)]
    parts[1].y[::3] = -1
    learnt(ridge, *parts)
    x, y = torch.cat([p.x for p in parts]).double(), torch.cat([p.y for p in parts])
    h = (x @ ridge.projection).clamp_min(0)[y >= 0].numpy()
    oracle = Ridge(alpha=lam, fit_intercept=False, solver="cholesky")
    oracle.fit(h, F.one_hot(y[y >= 0], N_CLASSES).double().numpy())
    asked = samples(20, 3).x
    expected = oracle.predict((asked.double() @ ridge.projection).clamp_min(0).numpy())
    torch.testing.assert_close(ridge(asked), torch.from_numpy(expected), rtol=1e-7, atol=1e-7)


def test_ridge_draws_its_projection_once():
    ridge = build("ridge", projection=8)
    before = ridge.projection.clone()
    learnt(ridge, samples(9), samples(9, 1))
    assert torch.equal(ridge.projection, before)
    assert not list(ridge.parameters())


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_knn_votes_as_scikit_learn_does(metric: str, k: int):
    task, asked = samples(60, 1), samples(40, 2).x
    knn = learnt(build("knn", k=k, metric=metric, memory_size=100).double(), task)
    oracle = KNeighborsClassifier(k, metric=metric, algorithm="brute")
    oracle.fit(task.x.double().numpy(), task.y.numpy())
    votes = oracle.predict_proba(asked.double().numpy())
    found = knn(asked)
    # Nearness decides among equals alone: it never adds up to a vote.
    extra = (found - torch.from_numpy(votes)) * k
    assert float(extra.min()) >= 0
    assert float(extra.max()) <= (1 + 1 / k) / 2 + 1e-9
    ties = np.sort(votes, 1)[:, -1] == np.sort(votes, 1)[:, -2]
    assert (found.argmax(1).numpy() == votes.argmax(1))[~ties].all()
    if k == 1:
        assert not ties.any()


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5), size=st.integers(1, 25))
@settings(max_examples=30, deadline=None)
def test_the_memory_of_knn_is_that_of_replay(sizes: list[int], size: int):
    """Without waiting for the device it chooses what the class-balanced memory chooses."""
    knn = build("knn", memory_size=size)
    reference = SampleMemory(size, "class_balanced", slot_layout(INFO, "class_balanced"))
    reference.salt.copy_(knn.memory.salt)
    for number, n in enumerate(sizes):
        task = samples(n, number, start=7 * number)  # some of these keys come again
        first = torch.where(task.key % 6 == 0, 0, torch.arange(n))  # and some come twice
        task = replace(task, x=task.x[first], y=task.y[first], key=task.key[first])
        task = replace(task, y=torch.where(task.key % 5 == 0, -1, task.y))
        knn.learn(task)
        reference.add(task)
        n_held = int(reference.filled)
        assert int(knn.memory.filled) == n_held
        held, expected = (m.key[:n_held].sort() for m in (knn.memory, reference))
        assert torch.equal(held.values, expected.values)
        mine, theirs = (
            m.x[:n_held][s.indices] for m, s in ((knn.memory, held), (reference, expected))
        )
        assert torch.equal(mine, theirs)


def test_knn_asks_samples_of_the_task_where_it_is_told():
    knn = build("knn", replace(INFO, task_ids=True, n_tasks=2), k=3, memory_size=50)
    for t in range(2):
        task = samples(20, t, start=20 * t)
        own = replace(task, y=task.y % 2 + 2 * t, task_id=torch.full_like(task.y, t))
        knn.learn(own)
    x = samples(10, 5).x
    for t in range(2):
        votes = knn(x, torch.full((10,), t))
        assert float(votes[:, 2 * t : 2 * t + 2].sum(1).min()) >= 1
        assert not bool(votes[:, 2 - 2 * t : 4 - 2 * t].any())


@given(
    sizes=st.lists(st.integers(0, 9), min_size=N_CLASSES, max_size=N_CLASSES),
    per_class=st.integers(1, 4),
    chosen=st.sets(st.integers(0, N_CLASSES - 1), min_size=1),
)
@settings(max_examples=40, deadline=None)
def test_every_class_comes_equally_often(sizes: list[int], per_class: int, chosen: set[int]):
    """A class's samples are gone around, and the memory has its share of each class."""
    head = build("mlp_head", replay_per_class=per_class)
    y = torch.cat([torch.full((n,), c) for c, n in enumerate(sizes)])
    first = TaskData(torch.randn(len(y), WIDTH), y, torch.arange(len(y)))
    head.begin(first)
    stored = head.memory.y[: int(head.memory.filled)]
    assert torch.bincount(stored, minlength=N_CLASSES).tolist() == [
        min(n, per_class) for n in sizes
    ]

    again = torch.tensor([c for c in sorted(chosen) for _ in range(c + 2)] + [-1])
    second = TaskData(torch.randn(len(again), WIDTH), again, 1000 + torch.arange(len(again)))
    task = head.begin(second)
    most = max(chosen) + 2
    seen = chosen | {c for c, n in enumerate(sizes) if n}
    expected = [most if c in seen else 0 for c in range(N_CLASSES)]
    assert torch.bincount(task.y, minlength=N_CLASSES).tolist() == expected
    for c in seen:
        distinct, times = task.key[task.y == c].unique(return_counts=True)
        there = again.tolist().count(c) + min(sizes[c], per_class)
        assert len(distinct) == min(there, most)
        assert int(times.max() - times.min()) <= 1


def test_a_head_with_replay_remembers_and_survives_missing_labels():
    words = ("scenario=class_incremental", "scenario.classes_per_task=2", "strategy.lr=0.01")
    r = run("strategy=mlp_head", *words, "strategy.epochs=30")
    strategy, outcome = go(r)
    naive = go(run("strategy=naive", *words[:2], "strategy.epochs=30"))[1]
    assert outcome.ledger.world_accuracy[-1] > naive.ledger.world_accuracy[-1] + 0.2
    task = r.stream.experience(0)
    strategy.learn(replace(task, y=torch.full_like(task.y, -1), key=task.key + 1))
    assert bool(strategy.weights.isfinite().all())


def test_a_bottleneck_changes_only_the_values_it_read():
    dkvb = build("dkvb", codebooks=8, keys=16, key_size=3)
    task = samples(64)
    frozen = {k: v.clone() for k, v in dkvb.state_dict().items() if "projection" in k}
    learnt(dkvb, task)
    keys = dkvb.model.keys.clone()
    values = dkvb.model.values.detach().clone()
    assert torch.equal(values.abs().sum(1) > 0, dkvb.model.used.flatten())
    few = replace(samples(3, 5), key=torch.arange(3))
    rows = dkvb.model.select(few.x).unique()
    learnt(dkvb, few)
    changed = (dkvb.model.values.detach() != values).any(1).nonzero().squeeze(1)
    assert set(changed.tolist()) <= set(rows.tolist())
    assert torch.equal(dkvb.model.keys, keys)
    assert all(torch.equal(dkvb.state_dict()[k], v) for k, v in frozen.items())


def test_a_bottleneck_asks_the_nearest_of_the_keys_that_were_used():
    dkvb = learnt(build("dkvb", codebooks=5, keys=20, key_size=4).double(), samples(12))
    model, x = dkvb.model, samples(30, 4).x.double()
    distance = torch.cdist(model.heads(x), model.keys).masked_fill(~model.used[:, None], torch.inf)
    values = model.values.view(5, 20, N_CLASSES)
    read = [values[c, distance[c].argmin(1)] for c in range(5)]
    torch.testing.assert_close(dkvb(x), torch.stack(read).mean(0))


def test_keys_have_the_moments_of_the_first_samples():
    dkvb = build("dkvb", codebooks=2, keys=4000, key_size=3, key_spread=2.0)
    task = samples(500)
    dkvb.begin(task)
    heads = dkvb.model.heads(task.x)
    for c in range(2):
        torch.testing.assert_close(dkvb.model.keys[c].mean(0), heads[c].mean(0), rtol=0.1, atol=0.1)
        expected = 4 * torch.cov(heads[c].T)
        torch.testing.assert_close(torch.cov(dkvb.model.keys[c].T), expected, rtol=0.2, atol=0.1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_labels_are_smoothed_as_torch_does(smoothing: float):
    dkvb = build("dkvb", codebooks=4, keys=8, key_size=3, label_smoothing=smoothing)
    learnt(dkvb, samples(50))
    task = samples(20, 3)
    y = torch.where(torch.arange(20) % 4 == 0, -1, task.y)
    expected = F.cross_entropy(
        dkvb.scores(Batch(task.x, y)), y, ignore_index=-1, label_smoothing=smoothing
    )
    torch.testing.assert_close(dkvb.loss(Batch(task.x, y)), expected)


def test_masked_classes_and_missing_labels_give_finite_gradients():
    dkvb = build("dkvb", codebooks=4, keys=8, key_size=3, mask="group")
    task = samples(20)
    y = torch.where(task.y == 1, 1, -1)
    for labels in (y, torch.full_like(y, -1)):
        gradient = dkvb.gradient(Batch(task.x, labels))
        assert bool(gradient.isfinite().all())
    assert not bool(gradient.any())


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("ridge", "lam", 0.0),
        ("ridge", "projection", 0),
        ("knn", "k", 0),
        ("knn", "memory_size", 0),
        ("knn", "memory_bytes", 3),
        ("mlp_head", "replay_per_class", 0),
        ("dkvb", "codebooks", 0),
        ("dkvb", "label_smoothing", 1.0),
        ("dkvb", "key_spread", 0.0),
    ],
)
def test_bad_settings_are_refused(name: str, setting: str, value: Any):
    with pytest.raises(UsageError, match=rf"strategy\.{setting}="):
        build(name, **{setting: value})
