"""Memories that choose: each policy's picks against plain greedy in numpy, and how much it computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_memory import keys, memory, task

from clbench.memory.submodular import BLOCK, facility_location, graph_cut, k_center


def similarities(features: np.ndarray) -> np.ndarray:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return (1 + unit @ unit.T) / 2


def covers(s: np.ndarray, chosen: list[int]) -> float:
    return float(s[:, chosen].max(1).sum()) if chosen else 0.0


def cuts(s: np.ndarray, chosen: list[int]) -> float:
    return float(s[:, chosen].sum() - 0.5 * s[np.ix_(chosen, chosen)].sum())


def greedy(features: np.ndarray, most: int, value: Callable[..., float]) -> list[int]:
    """Try every sample as the next pick, by the value of the whole set."""
    s, chosen = similarities(features), []
    for _ in range(min(most, len(s))):
        left = [i for i in range(len(s)) if i not in chosen]
        chosen.append(max(left, key=lambda i: value(s, [*chosen, i])))
    return chosen


def farthest(features: np.ndarray, most: int) -> list[int]:
    """Gonzalez, from the sample nearest to the mean of the unit features."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    chosen = [int(np.linalg.norm(unit - unit.mean(0), axis=1).argmin())]
    while len(chosen) < min(most, len(unit)):
        gaps = np.linalg.norm(unit[:, None] - unit[chosen], axis=2).min(1)
        gaps[chosen] = -1
        chosen.append(int(gaps.argmax()))
    return chosen


@pytest.mark.parametrize(("n", "most"), [(1, 3), (7, 7), (60, 9), (150, 40)])
@pytest.mark.parametrize("stored", [1000, 0])
def test_facility_location_is_plain_greedy(n: int, most: int, stored: int):
    features = np.random.default_rng(n).normal(size=(n, 6)) + 0.5
    found = facility_location(torch.tensor(features), most, stored)
    assert found.index.tolist() == greedy(features, most, covers)


@pytest.mark.parametrize(("n", "most"), [(1, 3), (7, 5), (60, 9), (100, 30)])
def test_graph_cut_is_plain_greedy(n: int, most: int):
    features = np.random.default_rng(n).normal(size=(n, 6)) + 0.5
    assert graph_cut(torch.tensor(features), most).index.tolist() == greedy(features, most, cuts)


@pytest.mark.parametrize(("n", "most"), [(1, 3), (7, 7), (60, 9), (100, 30)])
def test_k_center_is_farthest_first(n: int, most: int):
    features = np.random.default_rng(n).normal(size=(n, 6)) + 0.5
    assert k_center(torch.tensor(features), most).index.tolist() == farthest(features, most)


@pytest.mark.parametrize("pick", [facility_location, graph_cut, k_center])
def test_equal_samples_are_picked_in_their_order_and_each_once(pick):
    found = pick(torch.ones(9, 3, dtype=torch.float64), 5).index.tolist()
    assert len(set(found)) == 5
    assert found == [0, 1, 2, 3, 4]


def test_lazy_greedy_computes_few_of_the_gains():
    """On clusters, as features of a network are; plain greedy computes n for each pick."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 16))
    features = centres[rng.integers(20, size=1500)] + 0.3 * rng.normal(size=(1500, 16))
    found = facility_location(torch.tensor(features), 150)
    assert len(found.index) == 150
    assert found.evaluations < 0.1 * 150 * 1500
    assert found.evaluations >= 1500 + BLOCK


def test_k_center_is_within_twice_the_best_radius():
    """Of clusters that are far apart, one sample each is picked."""
    rng = np.random.default_rng(1)
    centres = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    which = np.repeat(np.arange(8), 12)
    features = centres[which] + 0.02 * rng.normal(size=(96, 8))
    assert sorted(which[k_center(torch.tensor(features), 8).index.numpy()]) == list(range(8))


PLAIN = {
    "facility_location": lambda f, most: greedy(f, most, covers),
    "graph_cut": lambda f, most: greedy(f, most, cuts),
    "k_center": farthest,
}


@pytest.mark.parametrize("policy", sorted(PLAIN))
def test_a_memory_keeps_the_first_picks_of_each_class(policy: str):
    """Classes that do not come again lose their last picks, as by herding."""
    torch.manual_seed(0)
    found = torch.randn(90, 4, dtype=torch.float64)
    held = memory(12, policy)
    for label in range(3):
        new = list(range(30 * label, 30 * label + 30))
        stored = found[held.key[: int(held.filled)]]
        held.add(task(new, [label] * 30), (stored, found[new]))
    for label in range(3):
        part = found[30 * label : 30 * label + 30].numpy()
        wanted = [30 * label + i for i in PLAIN[policy](part, 4)]
        assert sorted(key for key in keys(held) if key // 30 == label) == sorted(wanted)
