"""Types of symbols: line figures on a lattice of 3 x 3 points, as many as are asked for.

A figure is five strokes between neighbouring points (along a row, a column or a diagonal), grown from
one point, so that it holds together. Type k is the one of ``TRIED`` drawn figures that differs most
from the types before it. The first types are therefore the same whatever their number.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from clbench.data.synbols.counter import Draws

LATTICE = 3
"""Points on a side."""
STROKES = 5
TRIED = 64
"""Figures drawn for a type, of which one is taken."""
MOST = 200
"""The largest number of types."""
SEED = 1807
"""Of the figures. Neither the data's seed nor a run's changes them."""


def neighbours() -> np.ndarray:
    """``(20, 2)`` int64: the pairs of neighbouring points, as numbers ``3 row + column``."""
    points = [(row, column) for row in range(LATTICE) for column in range(LATTICE)]
    found = [
        (a, b)
        for b, (row, column) in enumerate(points)
        for a, (other, across) in enumerate(points[:b])
        if max(abs(row - other), abs(column - across)) == 1
    ]
    return np.array(found)


@lru_cache(maxsize=8)
def figures(n: int) -> np.ndarray:
    """``(n, 5, 2)`` int64: the points that the strokes of each type join."""
    edges = neighbours()
    number = np.arange(n * TRIED).reshape(n, TRIED)
    draws = Draws.of(SEED, number)
    reached = np.eye(LATTICE**2, dtype=bool)[draws.below(0, LATTICE**2)]
    taken = np.zeros((n, TRIED, len(edges)), dtype=bool)
    for stroke in range(STROKES):
        touches = (reached[..., edges[:, 0]] | reached[..., edges[:, 1]]) & ~taken
        at = draws.below(1 + stroke, touches.sum(-1))
        chosen = (touches.cumsum(-1) == at[..., None] + 1) & touches
        taken |= chosen
        for end in range(2):
            reached |= np.eye(LATTICE**2, dtype=bool)[edges[chosen.argmax(-1), end]]
    kept = np.zeros((n, len(edges)), dtype=bool)
    for k in range(n):
        differs = (taken[k][:, None] ^ kept[None, :k]).sum(-1)
        kept[k] = taken[k, differs.min(1).argmax() if k else 0]
    return np.stack([edges[row] for row in kept])
