"""Attributes tied to labels: spurious correlation, drawn for each sample."""

from __future__ import annotations

import numpy as np


def tied(
    labels: np.ndarray, n_values: int, alignment: float, rng: np.random.Generator
) -> np.ndarray:
    """``(n,)`` int64 values of an attribute in ``0..n_values-1``.

    ``label mod n_values`` with probability ``alignment``, else any other value, all equally likely.
    """
    aligned = rng.random(len(labels)) < alignment
    other = rng.integers(1, n_values, len(labels))
    return np.asarray((labels + np.where(aligned, 0, other)) % n_values)
