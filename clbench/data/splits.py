"""Splits a data set into a training and a test part."""

from __future__ import annotations

import numpy as np

from clbench.data.pool import Arrays


def split_every(every: int, x: np.ndarray, y: np.ndarray, scale: float) -> Arrays:
    """Make every ``every``-th sample of each class a test sample; deterministic.

    Args:
        every: at least 2; the ``every``-th, ``2 * every``-th, ... sample of a class is held out.
        x: ``(n, ...)`` samples; the order of the file is kept within both parts.
        y: ``(n,)`` int64 labels in ``0..max``, each class with at least ``every`` samples.
        scale: brings a raw value to the unit range.
    """
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        test[np.flatnonzero(y == label)[every - 1 :: every]] = True
    return Arrays(x[~test], y[~test], x[test], y[test], int(y.max()) + 1, scale)
