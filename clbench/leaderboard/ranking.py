"""Ranks with uncertainty: paired over seeds, adjusted for multiple comparisons.

All entries of a board learn the same streams, so two entries are compared seed by seed, and the
variation between streams cancels. Every pair is tested with a paired t-test, the p-values are
adjusted by Holm's step-down method (Holm 1979), which keeps the chance of any wrong claim within the
division at ``ALPHA`` for any dependence between pairs. An entry's rank is the range of places
compatible with the significant differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clbench.results.tables import Interval, t_interval

ALPHA = 0.05
"""Chance that a division of equal entries claims any difference."""
RESOLUTION = 1e-12
"""Scores closer than this count as equal (rounding)."""


class Comparison(NamedTuple):
    """Entry a less entry b, paired over seeds."""

    difference: Interval
    """Mean of the differences and half width of its 95 % t-interval."""
    p_value: float
    """Two-sided p-value of this pair, not adjusted."""


def compare(a: Sequence[float], b: Sequence[float]) -> Comparison:
    """Compare two entries on the same seeds, in the same order.

    Raises:
        ValueError: the lengths differ.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    p_values = paired_p_values(np.array([a, b], dtype=np.float64).reshape(2, -1))
    return Comparison(t_interval(differences), float(p_values[0, 1]))


def paired_p_values(scores: np.ndarray) -> np.ndarray:
    """Two-sided p-values of the paired t-test for every pair.

    Where all differences are the same, t is undefined: if they are zero the entries are
    indistinguishable (p = 1), else one always wins by the same margin (p = 0). A single seed says
    nothing (p = 1).

    Args:
        scores: ``(n_entries, n_seeds)``; a failed seed scores 0.

    Returns:
        ``(n_entries, n_entries)``, symmetric, 1 on the diagonal.
    """
    n_entries, n_seeds = scores.shape
    if n_seeds < 2:
        return np.ones((n_entries, n_entries))
    from scipy.stats import t

    differences = scores[:, None, :] - scores[None, :, :]
    mean = np.abs(differences.mean(2))
    error = differences.std(2, ddof=1) / np.sqrt(n_seeds)
    constant = error <= RESOLUTION
    statistic = mean / np.where(constant, 1.0, error)
    p_values = 2 * t.sf(statistic, n_seeds - 1)
    return np.asarray(np.where(constant, (mean <= RESOLUTION).astype(float), p_values))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values of ``(m,)`` hypotheses: reject those that are at most alpha."""
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate((m - np.arange(m)) * p_values[order])
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def significantly_better(scores: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """``(n, n)`` bool: whether the row's entry is better than the column's, among all pairs."""
    n = len(scores)
    upper = np.triu_indices(n, 1)
    adjusted = np.ones((n, n))
    adjusted[upper] = holm(paired_p_values(scores)[upper])
    adjusted = np.minimum(adjusted, adjusted.T)
    mean = scores.mean(1) if scores.size else np.zeros(n)
    return np.asarray((adjusted <= alpha) & (mean[:, None] > mean[None, :]))


def rank_ranges(scores: np.ndarray, alpha: float = ALPHA) -> list[tuple[int, int]]:
    """Compute each entry's best and worst place compatible with the evidence.

    Args:
        scores: ``(n_entries, n_seeds)``, higher is better; a failed seed scores 0.
        alpha: the chance of any wrong claim among them.

    Returns:
        ``(1 + entries significantly better, n - entries significantly worse)`` for each entry. The
        place by mean is always inside.
    """
    better = significantly_better(scores, alpha)
    best, worst = 1 + better.sum(0), len(scores) - better.sum(1)
    return [(int(low), int(high)) for low, high in zip(best, worst, strict=True)]


def pareto_front(gains: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Find the Pareto front: entries that no other entry dominates.

    Args:
        gains: ``(n,)``, higher is better.
        costs: ``(n, k)``, lower is better; an entry with a NaN is neither on the front nor beats
            anyone.

    Returns:
        ``(n,)`` bool. Equal entries are on the front together.
    """
    points = np.column_stack([-gains, costs])
    known = ~np.isnan(points).any(1)
    no_worse = (points[:, None, :] <= points[None, :, :]).all(2)
    somewhere_better = (points[:, None, :] < points[None, :, :]).any(2)
    beaten = (no_worse & somewhere_better & known[:, None]).any(0)
    return np.asarray(known & ~beaten)


class Power(NamedTuple):
    """How well a board tells entries apart."""

    n_told: int
    """Pairs that are told apart, of those that differ by ``POINT`` or more."""
    n_pairs: int
    """Pairs whose means differ by ``POINT`` or more."""


POINT = 0.01
"""A difference worth telling: one percentage point."""


def power(groups: Sequence[np.ndarray], least: float = POINT, alpha: float = ALPHA) -> Power:
    """Count the pairs that differ by a point or more, and those of them that are told apart.

    Args:
        groups: of each division, ``(n_entries, n_seeds)``; pairs are within a division.
        least: the smallest difference of means that counts.
        alpha: the chance of any wrong claim in a division.
    """
    n_told = n_pairs = 0
    for scores in groups:
        mean = scores.mean(1) if scores.size else np.zeros(len(scores))
        differ = mean[:, None] - mean[None, :] >= least - RESOLUTION
        n_pairs += int(differ.sum())
        n_told += int((differ & significantly_better(scores, alpha)).sum())
    return Power(n_told, n_pairs)


def critical_difference(scores: np.ndarray, alpha: float = ALPHA) -> float | None:
    """The difference of means at which a typical pair of entries is told apart.

    It is the median over pairs of the standard error of their difference, times the critical value
    of t at ``alpha`` over the number of pairs (Holm's first and strictest step). None: fewer than two
    entries or seeds.
    """
    n_entries, n_seeds = scores.shape
    if n_entries < 2 or n_seeds < 2:
        return None
    from scipy.stats import t

    i, j = np.triu_indices(n_entries, 1)
    errors = (scores[i] - scores[j]).std(1, ddof=1) / np.sqrt(n_seeds)
    return float(np.median(errors) * t.isf(alpha / (2 * len(i)), n_seeds - 1))
