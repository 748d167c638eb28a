"""Labels of training samples that differ from the data's: wrong ones, and ones that are withheld.

Both are drawn for a sample from its key and the seed alone, so a sample that comes again has the label
that it had. Test labels never change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from clbench import seeding
from clbench.seeding import Axis

Noise = Literal["none", "symmetric", "asymmetric"]
WRONG, OTHER, WITHHELD = 1, 2, 3
"""What is drawn for a key: whether its label is wrong, which other it is, whether it is withheld."""


@dataclass(frozen=True)
class Labelling:
    """Replaces some labels of an experience.

    A label is wrong with probability ``rate``. The wrong label is any other of the given classes, all
    equally likely (``symmetric``), or the next of them, after the last the first (``asymmetric``).
    Symmetric noise without the true class is the convention of Mammoth and of the loss-correction
    papers that it follows (Patrini et al. 2017, arXiv 1609.03683). Their asymmetric noise has a table
    for each data set; the next class is what they do within a super-class of CIFAR-100.

    Deviations: each sample is drawn by itself, so the share of wrong labels of a class is binomial
    (Mammoth rounds it); and see ``Stream.label_choices`` for the classes that labels are taken from.
    """

    noise: Noise = "none"
    rate: float = 0.0
    unlabelled: float = 0.0
    """Probability that a label is withheld, after noise: it becomes -1."""

    def __call__(
        self, labels: np.ndarray, keys: np.ndarray, classes: np.ndarray, seed: int
    ) -> np.ndarray:
        """Return ``(n,)`` int64 labels.

        Args:
            labels: ``(n,)`` int64, the true ones; each is among ``classes``.
            keys: ``(n,)`` int64 identities of the samples.
            classes: ``(k,)`` int64 ascending, those that labels are taken from; k >= 2 with noise.
            seed: of the run.
        """
        found = labels
        if self.noise != "none":
            step = np.ones(len(labels), dtype=np.int64)
            if self.noise == "symmetric":
                step += (drawn(keys, seed, OTHER) % np.uint64(len(classes) - 1)).astype(np.int64)
            other = classes[(np.searchsorted(classes, labels) + step) % len(classes)]
            found = np.where(_chosen(keys, seed, WRONG, self.rate), other, found)
        if self.unlabelled:
            found = np.where(_chosen(keys, seed, WITHHELD, self.unlabelled), -1, found)
        return found


def opaque(identity: np.ndarray, key_seed: int) -> np.ndarray:
    """A bijection of int64, seeded by a run's ``Axis.KEY``; a key reveals nothing about its sample."""
    return _mixed(identity, key_seed).view(np.int64)


def drawn(keys: np.ndarray, seed: int, purpose: int) -> np.ndarray:
    """``(n,)`` uint64, uniform: a number for each key, independent between purposes (1, 2, ...)."""
    return _mixed(keys, seeding.integer(seed, Axis.KEY, purpose))


def _chosen(keys: np.ndarray, seed: int, purpose: int, probability: float) -> np.ndarray:
    """``(n,)`` bool, each true with a probability."""
    unit = (drawn(keys, seed, purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.asarray(unit < probability)


def _mixed(values: np.ndarray, salt: int) -> np.ndarray:
    """splitmix64's finaliser, ``(n,)`` uint64."""
    z = values.astype(np.uint64) + np.uint64(salt)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
