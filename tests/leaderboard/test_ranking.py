"""Ranks against scipy, against Holm by hand, and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clbench.leaderboard.ranking import (
    compare,
    holm,
    paired_p_values,
    pareto_front,
    rank_ranges,
    significantly_better,
)

BOARDS = st.tuples(st.integers(1, 7), st.integers(2, 6), st.integers(0, 2**32 - 1), st.booleans())


def scores_of(shape: tuple[int, int, int, bool]) -> np.ndarray:
    """Scores with ties, constant gaps and failed seeds when rounded, else of distinct values."""
    n, seeds, seed, rounded = shape
    values = np.random.default_rng(seed).uniform(0, 1, (n, 1)) + np.random.default_rng(
        seed + 1
    ).normal(0, 0.05, (n, seeds))
    return np.round(values, 1) if rounded else values


def test_p_values_are_those_of_scipy() -> None:
    scores = np.random.default_rng(0).normal(0.5, 0.1, (6, 5))
    ours = paired_p_values(scores)
    for i in range(6):
        for j in range(6):
            theirs = 1.0 if i == j else stats.ttest_rel(scores[i], scores[j]).pvalue
            assert ours[i, j] == pytest.approx(theirs, rel=1e-9)


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.6 * 1, each at least the one before.
    adjusted = holm(np.array([0.03, 0.01, 0.6, 0.02]))
    assert adjusted == pytest.approx([0.06, 0.04, 0.6, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
    assert len(holm(np.array([]))) == 0


def test_degenerate_differences_have_p_values() -> None:
    same, above = [0.5, 0.6, 0.7], [0.6, 0.7, 0.8]
    p_values = paired_p_values(np.array([same, same, above]))
    assert p_values[0, 1] == 1
    assert p_values[0, 2] == 0
    assert (paired_p_values(np.array([[0.1], [0.9]])) == 1).all()


def test_ranges_of_a_clear_board() -> None:
    rng = np.random.default_rng(1)
    streams = rng.normal(0, 0.05, 10)
    truth = np.array([0.66, 0.9, 0.659, 0.4])
    scores = truth[:, None] + streams + rng.normal(0, 0.004, (4, 10))
    assert rank_ranges(scores) == [(2, 3), (1, 1), (2, 3), (4, 4)]


def test_equal_entries_are_rarely_told_apart() -> None:
    """400 boards of five equal entries whose seeds share their streams."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(400):
        scores = rng.normal(0, 0.05, 5) + rng.normal(0.5, 0.02, (5, 5))
        wrong += bool(significantly_better(scores).any())
    assert wrong / 400 <= 0.07


def test_pairing_finds_what_independent_tests_do_not() -> None:
    rng = np.random.default_rng(3)
    streams = rng.normal(0, 0.1, 5)
    a, b = streams + 0.52, streams + 0.5 + rng.normal(0, 0.002, 5)
    assert compare(a.tolist(), b.tolist()).p_value < 0.001
    assert stats.ttest_ind(a, b).pvalue > 0.5


def test_comparison_has_the_interval_of_the_differences() -> None:
    a, b = [0.9, 0.8, 0.85, 0.95], [0.7, 0.75, 0.8, 0.9]
    found = compare(a, b)
    theirs = stats.ttest_rel(a, b)
    low, high = theirs.confidence_interval(0.95)
    assert found.difference.mean == pytest.approx((low + high) / 2)
    assert found.difference.half_width == pytest.approx((high - low) / 2)
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert compare(b, a).difference.mean == pytest.approx(-(low + high) / 2)


@given(BOARDS, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_of_entries_does_not_matter(shape, random) -> None:
    scores = scores_of(shape)
    order = list(range(len(scores)))
    random.shuffle(order)
    ranges = rank_ranges(scores)
    assert rank_ranges(scores[order]) == [ranges[i] for i in order]


@given(BOARDS)
@settings(deadline=None)
def test_ranges_contain_the_place_by_mean(shape) -> None:
    scores = scores_of(shape)
    ranges = rank_ranges(scores)
    for place, entry in enumerate(np.argsort(-scores.mean(1), kind="stable"), start=1):
        low, high = ranges[entry]
        assert 1 <= low <= place <= high <= len(scores)


@given(BOARDS, st.integers(0, 99))
@settings(deadline=None)
def test_another_entry_leaves_valid_ranges(shape, seed) -> None:
    scores = scores_of(shape)
    more = np.vstack([scores, np.random.default_rng(seed).uniform(0, 1, scores.shape[1])])
    before, after = rank_ranges(scores), rank_ranges(more)
    assert len(after) == len(scores) + 1
    for (low, _), (new_low, new_high) in zip(before, after, strict=False):
        assert 1 <= new_low <= new_high <= len(more)
        # More comparisons can only take claims back; one more entry can be better.
        assert new_low <= low + 1


def test_nothing_and_one_entry() -> None:
    assert rank_ranges(np.zeros((0, 5))) == []
    assert rank_ranges(np.full((1, 5), 0.3)) == [(1, 1)]


def test_front_by_hand() -> None:
    gains = np.array([0.9, 0.8, 0.8, 0.7, 0.95, 0.8])
    costs = np.array([[10, 10], [5, 20], [5, 30], [20, 20], [np.nan, 1], [5, 20]])
    # 2 costs more bytes than 1; 3 is beaten by all; 4 is not known; 5 equals 1.
    assert pareto_front(gains, costs).tolist() == [True, True, False, False, False, True]


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_front_is_what_no_loop_finds_beaten(n, seed) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.integers(0, 4, n) / 4
    costs = rng.integers(1, 4, (n, 2)).astype(float)
    costs[rng.uniform(size=n) < 0.2] = np.nan
    front = pareto_front(gains, costs)
    for i in range(n):
        beaten = np.isnan(costs[i]).any()
        for j in range(n):
            ours, theirs = (-gains[i], *costs[i]), (-gains[j], *costs[j])
            no_worse = all(b <= a for a, b in zip(ours, theirs, strict=True))
            beaten |= no_worse and ours != theirs
        assert front[i] == (not beaten)
