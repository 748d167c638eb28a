"""Random numbers without state: what is drawn for image i is a pure function of (seed, i).

SplitMix64's finaliser (Steele, Lea & Flood 2014) as a hash of keys and slots. All of it is 64-bit
integer arithmetic on the host, so any batch size and order gives the same numbers on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's bijection of 64-bit integers, elementwise on uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _tag(number: int) -> np.ndarray:
    return mix(np.array([(number + 1) * GOLDEN % 2**64], dtype=np.uint64))


@dataclass(frozen=True)
class Draws:
    """Numbers for a set of keys; each slot is one independent draw of all of them."""

    key: np.ndarray
    """uint64, any shape: that of what is drawn."""

    @classmethod
    def of(cls, seed: int, index: np.ndarray) -> Draws:
        """The draws of samples ``index`` (integers, any shape) under a seed (>= 0)."""
        return cls(mix(index.astype(np.uint64) * np.uint64(GOLDEN) + _tag(seed)))

    def child(self, number: int) -> Draws:
        """Draws independent of these and of those of any other child."""
        return Draws(mix(self.key + _tag(number)))

    def bits(self, slot: int) -> np.ndarray:
        """uint64."""
        return mix(self.key ^ _tag(slot))

    def uniform(self, slot: int) -> np.ndarray:
        """float64 in the open interval (0, 1), 52 bits."""
        return np.asarray(((self.bits(slot) >> np.uint64(12)) + 0.5) * 2.0**-52)

    def below(self, slot: int, n: int | np.ndarray) -> np.ndarray:
        """int64 in ``0..n-1``."""
        return np.asarray(np.floor(self.uniform(slot) * n).astype(np.int64))
