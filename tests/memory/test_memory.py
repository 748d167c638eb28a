"""Memories of samples: who is kept, each once, at constant size."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from clbench.memory.buffer import SampleMemory, slot_bytes, slot_layout
from clbench.memory.policies import POLICIES, herd, priorities, rank_within
from clbench.strategy import StreamInfo
from clbench.stream import TaskData

INFO = StreamInfo((3,), torch.uint8, 1 / 255, 10, None)


def memory(size: int, policy: str = "reservoir") -> SampleMemory:
    return SampleMemory(size, policy, slot_layout(INFO, policy))


def task(keys: Tensor | list[int], y: Tensor | list[int] | None = None) -> TaskData:
    """Samples whose pixels and, unless given, labels are functions of their keys."""
    key = torch.as_tensor(keys, dtype=torch.int64)
    labels = key % 10 if y is None else torch.as_tensor(y, dtype=torch.int64)
    x = torch.stack([key % 251, key // 251 % 251, labels % 251], 1).to(torch.uint8)
    return TaskData(x, labels, key)


def keys(held: SampleMemory) -> list[int]:
    return held.key[: int(held.filled)].tolist()


def counts(held: SampleMemory, of: str = "y") -> dict[int, int]:
    values, n = held.get_buffer(of)[: int(held.filled)].unique(return_counts=True)
    return dict(zip(values.tolist(), n.tolist(), strict=True))


@pytest.mark.parametrize("sizes", [[30], [1] * 15, [7, 1, 12, 2, 8], [5, 0, 25]])
def test_reservoir_holds_every_sample_with_the_same_probability(sizes: list[int]):
    """And every pair of consecutive ones: a sample without replacement, whatever the batches."""
    torch.manual_seed(5)
    n, size, rounds = sum(sizes), 6, 2400 // (len(sizes) + 3)
    singles, pairs = np.zeros(n), 0
    for _ in range(rounds):
        held = memory(size)
        start = 0
        for part in sizes:
            held.add(task(list(range(start, start + part))))
            start += part
        found = set(keys(held))
        assert len(found) == size
        singles[list(found)] += 1
        pairs += sum(a in found and b in found for a, b in pairwise(range(n)))
    # Inclusions within a round exclude one another a little, which only shrinks the statistic.
    assert chisquare(singles).pvalue > 1e-3
    expected = rounds * (n - 1) * size * (size - 1) / (n * (n - 1))
    assert abs(pairs - expected) < 5 * expected**0.5


def test_recurring_samples_are_no_likelier_to_be_held():
    """Half of the samples come five times as often as the others."""
    torch.manual_seed(6)
    hits = np.zeros(40)
    for _ in range(250):
        held = memory(8)
        for t in range(5):
            held.add(task([*range(20), *range(20 + 4 * t, 24 + 4 * t)]))
        hits[keys(held)] += 1
    assert chisquare([hits[:20].sum(), hits[20:].sum()]).pvalue > 1e-3
    assert chisquare(hits).pvalue > 1e-3


def test_priorities_are_a_bijection_without_pattern():
    found = priorities(torch.arange(100_000), torch.tensor(12345))
    assert len(found.unique()) == 100_000
    in_sixteenths = np.bincount((found.numpy() >> 60) + 8, minlength=16)
    assert chisquare(in_sixteenths).pvalue > 1e-3
    assert abs(np.corrcoef(found[:-1].double(), found[1:].double())[0, 1]) < 0.02


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 60), max_size=25), min_size=1, max_size=8),
    st.integers(1, 30),
    st.sampled_from(["reservoir", "class_balanced"]),
    st.randoms(use_true_random=False),
)
def test_what_is_kept_depends_only_on_which_samples_came(stream, size, policy, random):
    """Not on their order, their batches, or how often they came."""
    ours, other = memory(size, policy), memory(size, policy)
    other.salt.copy_(ours.salt)
    for part in stream:
        ours.add(task(part))
    everything = [key for part in stream for key in part]
    random.shuffle(everything)
    for key in [*everything, *everything[:5]]:
        other.add(task([key]))
    assert sorted(keys(ours)) == sorted(keys(other))
    assert len(set(keys(ours))) == len(keys(ours)) == min(size, len(set(everything)))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 99), max_size=30), min_size=1, max_size=8),
    st.integers(1, 40),
    st.sampled_from(["class_balanced", "ring", "herding"]),
)
def test_classes_are_as_balanced_as_their_samples_allow(stream, size, policy):
    """No class has two fewer than another while more of its samples have come."""
    held = memory(size, policy)
    came: set[int] = set()
    for part in stream:
        n = int(held.filled)
        held.add(task(part), (held.x[:n].float(), task(part).x.float()))
        came |= set(part)
    kept = counts(held)
    for label in {key % 10 for key in came}:
        had, has = sum(key % 10 == label for key in came), kept.get(label, 0)
        assert has == had or has >= max(kept.values()) - 1
    assert sum(kept.values()) == min(size, len(came))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 60), max_size=20), min_size=1, max_size=6),
    st.integers(1, 25),
    st.sampled_from(sorted(POLICIES)),
)
def test_slots_are_whole_and_filled_from_the_front(stream, size, policy):
    """Every slot holds one sample's image, label and key; all that is not filled is zero."""
    held = memory(size, policy)
    for part in stream:
        n = int(held.filled)
        given_task = task(part)
        slots, source = held.add(given_task, (held.x[:n].float(), given_task.x.float()))
        assert torch.equal(held.key[slots], given_task.key[source])
        assert (source.diff() > 0).all()
    n = int(held.filled)
    whole = task(held.key[:n])
    assert torch.equal(held.x[:n], whole.x)
    assert torch.equal(held.y[:n], whole.y)
    assert not held.key[n:].any()
    assert held.x.dtype == torch.uint8


def test_task_balanced_goes_on_admitting_where_tasks_outnumber_slots():
    """A peer's memory of 20 holds tasks 0 to 19 for ever; here all tasks have the same chance."""
    torch.manual_seed(2)
    hits = np.zeros(18)
    for _ in range(60):
        held = memory(6, "task_balanced")
        for t in range(18):
            held.add(task(list(range(10 * t, 10 * t + (2 if t % 2 else 10)))))
        assert list(counts(held, "stamp").values()) == [1] * 6
        hits[[key // 10 for key in keys(held)]] += 1
    assert chisquare(hits).pvalue > 1e-3


def test_task_balanced_goes_on_admitting_where_the_same_samples_come_again():
    """In a world of 40 samples, too, a memory of 20 holds some of the second half of 400 tasks."""
    held = memory(20, "task_balanced")
    rng = np.random.default_rng(0)
    for _ in range(400):
        held.add(task(rng.choice(40, 4, replace=False).tolist()))
    assert int(held.get_buffer("stamp").max()) >= 200


def test_task_balanced_shares_the_slots_evenly():
    held = memory(21, "task_balanced")
    for t, n in enumerate((100, 10, 3, 50)):
        held.add(task(list(range(1000 * t, 1000 * t + n))))
    assert counts(held, "stamp") == {0: 6, 1: 6, 2: 3, 3: 6}


def test_ring_keeps_the_newest_of_each_class_and_a_sample_that_comes_again_is_new():
    held = memory(4, "ring")
    for start in (0, 20, 40, 60):
        held.add(task([start, start + 1]))
    assert sorted(keys(held)) == [40, 41, 60, 61]
    held.add(task([40, 41]))
    held.add(task([80, 81]))
    assert sorted(keys(held)) == [40, 41, 80, 81]


def shares_by_hand(size: int, came: dict[int, int], held: dict[int, int]) -> dict[int, int]:
    """Places one at a time: one to each class, then to the class with the least n (samples + 1)."""
    kept = dict.fromkeys(came, 1)
    while sum(kept.values()) < min(size, sum(held.values())):
        open_ = [c for c in came if kept[c] < held[c]]
        kept[min(open_, key=lambda c: came[c] * (kept[c] + 1))] += 1
    return kept


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=12), st.randoms())
def test_frequency_aware_shares_are_inverse_to_the_experiences_of_a_class(stream, random):
    """Up to ties, for classes of samples without end: the share of class c goes as 1 / n(c)."""
    size, held, number = 24, memory(24, "frequency_aware"), 0
    came: dict[int, int] = {}
    for present in stream:
        labels = [c for c in sorted(present) for _ in range(size)]
        random.shuffle(labels)
        held.add(task(list(range(number, number + len(labels))), labels))
        number += len(labels)
        for c in present:
            came[c] = came.get(c, 0) + 1
        kept = counts(held)
        assert sum(kept.values()) == size
        assert set(kept) == set(came)
        stamps = dict(zip(held.y.tolist(), held.get_buffer("stamp").tolist(), strict=True))
        assert stamps == came
        wanted = shares_by_hand(size, came, dict.fromkeys(came, number))
        # A class cannot grow while it does not come, so only the bound holds of absent classes.
        for c in present:
            assert kept[c] >= wanted[c] - 1
        worst = max((kept[c] * came[c] for c in came if kept[c] > 1), default=0)
        assert all((kept[c] + 1) * came[c] >= worst for c in present)


def test_frequency_aware_by_hand():
    """Of 12 places, class 0 came three times and class 1 once: shares of 1/4 and 3/4."""
    held = memory(12, "frequency_aware")
    for start in (0, 100, 200):
        held.add(task(list(range(start, start + 20)), [0] * 20))
    held.add(task(list(range(300, 320)), [1] * 20))
    assert counts(held) == {0: 3, 1: 9}


def test_frequency_aware_draws_uniformly_within_a_class():
    torch.manual_seed(4)
    hits = np.zeros(40)
    for _ in range(150):
        held = memory(10, "frequency_aware")
        held.add(task(list(range(20)), [0] * 20))
        held.add(task(list(range(20, 40)), [0] * 20))
        hits[keys(held)] += 1
    assert chisquare(hits).pvalue > 1e-3


def herd_by_hand(features: np.ndarray, most: int) -> list[int]:
    """Algorithm 4 of iCaRL, one exemplar after another, for one class."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean, chosen = unit.mean(0), []
    for k in range(1, min(most, len(unit)) + 1):
        gaps = [
            np.inf if i in chosen else np.linalg.norm(mean - (unit[i] + unit[chosen].sum(0)) / k)
            for i in range(len(unit))
        ]
        chosen.append(int(np.argmin(gaps)))
    return chosen


def test_herding_is_icarls_greedy_choice():
    rng = np.random.default_rng(0)
    found, y = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    rank = herd(torch.tensor(found), torch.tensor(y), 6)
    for label in range(3):
        members = np.flatnonzero(y == label)
        wanted = members[herd_by_hand(found[members], 6)]
        ours = [int((np.flatnonzero((rank.numpy() == k) & (y == label)))[0]) for k in range(6)]
        assert ours == wanted.tolist()
    assert (rank == 6).sum() == 40 - 3 * 6


def test_herding_loses_the_last_of_a_class_and_keeps_its_order():
    """When other classes come, a class is cut down to the start of its own list (algorithm 5)."""
    torch.manual_seed(0)
    found = torch.randn(100, 4)
    held = memory(8, "herding")

    def add(samples: list[int], labels: list[int]) -> None:
        stored = found[held.key[: int(held.filled)]]
        held.add(task(samples, labels), (stored, found[samples]))

    first = list(range(30))
    add(first, [0] * 30)
    order = herd_by_hand(found[:30].double().numpy(), 8)
    assert sorted(keys(held)) == sorted(order)
    add(list(range(30, 60)), [1] * 30)
    kept = sorted(key for key in keys(held) if key < 30)
    assert kept == sorted(order[:4])
    add(list(range(60, 90)), [2] * 30)
    kept = sorted(key for key in keys(held) if key < 30)
    assert kept in (sorted(order[:2]), sorted(order[:3]))


def test_rank_within():
    group = torch.tensor([5, 7, 5, 5, 7])
    order = torch.tensor([3, 4, 0, 1, 2])
    assert rank_within(group, order).tolist() == [1, 1, 2, 0, 0]


def test_unlabelled_and_repeated_samples_are_not_stored():
    held = memory(10)
    held.add(task([1, 2, 2, 3, 1], [0, 1, 1, -1, 0]))
    assert sorted(keys(held)) == [1, 2]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_hundreds_of_tasks_do_not_change_a_byte_of_its_size(policy: str):
    held = memory(30, policy)
    before = {name: (b.shape, b.dtype) for name, b in held.state_dict().items()}
    for t in range(30 if POLICIES[policy].needs_features else 300):
        part = task(list(range(7 * t, 7 * t + 12)))
        held.add(part, (held.x[: int(held.filled)].float(), part.x.float()))
    assert {name: (b.shape, b.dtype) for name, b in held.state_dict().items()} == before
    assert held.nbytes() == 30 * slot_bytes(held.layout)


def test_float16_halves_the_samples_and_gives_them_back_as_they_are_asked_for():
    info = StreamInfo((5,), torch.float32, 1.0, 10, None)
    held = SampleMemory(4, "reservoir", slot_layout(info, dtype=torch.float16))
    x = torch.randn(3, 5)
    held.add(TaskData(x, torch.arange(3), torch.arange(3)))
    assert held.x.dtype == torch.float16
    batch = held.gather(torch.arange(3), x)
    assert batch.x.dtype == torch.float32
    torch.testing.assert_close(batch.x, x[held.key[:3]], rtol=1e-3, atol=1e-3)
