"""Splits a data set into a training and a test part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from clbench.data.pool import Arrays
from clbench.errors import UsageError


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


def seeded_digest(content: bytes | memoryview, seed: int) -> bytes:
    """Hash a sample's content with a seed (any int): 16 bytes that decide its side of a split."""
    key = hashlib.sha256(f"clbench split {seed}".encode()).digest()
    return hashlib.blake2b(content, key=key, digest_size=16).digest()


def held_out(
    share: float, y: np.ndarray, digests: Sequence[bytes], names: Sequence[str] = ()
) -> np.ndarray:
    """Choose the test samples of a stratified split: in each class, those of the smallest digest.

    Args:
        share: of each class, in (0, 1), rounded to at least one sample and at most all but one.
        y: ``(n,)`` int64 labels.
        digests: of each sample, all of one length; equal ones stay on one side.
        names: of the classes, for errors; else they are numbered.

    Returns:
        ``(n,)`` bool: the samples for testing.

    Raises:
        UsageError: a class has fewer than two different samples; it is named.
    """
    ranks = np.unique(np.array([digest.hex() for digest in digests]), return_inverse=True)[1]
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        mine = ranks[members]
        n = min(max(1, round(share * len(members))), len(members) - 1)
        cut = np.sort(mine)[n - 1]
        if (mine == cut).all() or len(members) < 2:
            name = repr(names[label]) if names else str(label)
            raise UsageError(
                f"data.split={share}: class {name} has no two different samples to part; add some, "
                "or give the data a test split"
            )
        if cut == mine.max():  # the largest stays for training, with all that equal it
            cut = mine[mine < cut].max()
        test[members[mine <= cut]] = True
    return test
