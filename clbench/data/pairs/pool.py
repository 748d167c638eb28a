"""Pools of All-Pairs images: stored, or drawn on request; and the same images at another difficulty."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clbench.data.pairs.generator import Difficulty, Generator
from clbench.data.pool import VALIDATION_SHARE, Pool, Split
from clbench.data.transforms import Transform
from clbench.util.hashing import sha256_of

TEST_START = 1 << 40
"""The number of the first test image: no training set reaches it."""


class PairsPool(Pool):
    """Image ``numbers[split][i]`` of a generator is sample ``i`` of a split.

    The hash covers the recipe, the difficulty and the numbers, not the pixels.
    """

    dtype = torch.uint8
    scale = 1 / 255
    n_classes = 2
    class_names = ("odd", "paired")

    def __init__(
        self,
        generator: Generator,
        difficulty: Difficulty,
        numbers: Mapping[Split, np.ndarray],
        store: bool,
    ) -> None:
        """A pool; ``store`` draws all images now."""
        self.generator, self.difficulty, self.device = generator, difficulty, generator.device
        self.input_shape = (generator.side, generator.side)
        self._numbers, self._store = numbers, store
        self._labels = {split: generator.labels(n) for split, n in numbers.items()}
        self._x = None
        if store:
            self._x = {split: generator.images(n, difficulty) for split, n in numbers.items()}
        which = {split: hashlib.sha256(n.tobytes()).hexdigest() for split, n in numbers.items()}
        self.sha256 = sha256_of([generator.recipe, str(difficulty), which])

    @classmethod
    def of(
        cls, generator: Generator, difficulty: Difficulty, n_train: int, n_test: int, store: bool
    ) -> PairsPool:
        """Make a pool: images 0, 1, ... for training, others for test."""
        test = np.arange(TEST_START, TEST_START + n_test)
        return cls(generator, difficulty, {"train": np.arange(n_train), "test": test}, store)

    def size(self, split: Split) -> int:
        """The number of samples of a split."""
        return len(self._numbers[split])

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""
        return self._labels[split]

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """``(len(index), side, side)``: those samples, on the device."""
        if self._x is None:
            return self.generator.images(self.numbers(split, index), self.difficulty)
        return self._x[split].index_select(0, torch.as_tensor(index, device=self.device))

    def numbers(self, split: Split, index: np.ndarray) -> np.ndarray:
        """``(n,)`` int64: the generator's numbers of some samples."""
        return np.asarray(self._numbers[split][np.asarray(index)])

    def tuning(self) -> PairsPool:
        """The tuning pool: scores on the last 10 % of each class's training images."""
        y, held_out = self._labels["train"], np.zeros(self.size("train"), dtype=bool)
        for label in np.unique(y):
            members = np.flatnonzero(y == label)
            held_out[members[-max(1, round(VALIDATION_SHARE * len(members))) :]] = True
        n = self._numbers["train"]
        parts: dict[Split, np.ndarray] = {"train": n[~held_out], "test": n[held_out]}
        return PairsPool(self.generator, self.difficulty, parts, self._store)


@dataclass(frozen=True)
class Harder(Transform):
    """Domain d is the images of the same numbers at the d-th difficulty; labels stay as they are."""

    pool: PairsPool
    stops: tuple[Difficulty, ...]
    samples: tuple[Split, np.ndarray] | None = None
    """Which images of the pool ``x`` holds."""

    @property
    def n_domains(self) -> int:
        """As many as difficulties."""
        return len(self.stops)

    def bound(self, split: Split, index: np.ndarray) -> Harder:
        """The transform of these images."""
        return dataclasses.replace(self, samples=(split, np.asarray(index)))

    def __call__(self, x: Tensor, domain: int, generator: torch.Generator) -> Tensor:
        """Draw; takes nothing from ``x`` and ``generator``."""
        self._check_domain(domain)
        assert self.samples is not None
        return self.pool.generator.images(self.pool.numbers(*self.samples), self.stops[domain])

    def describe(self, domain: int) -> str:
        """The recipe and the difficulty."""
        self._check_domain(domain)
        return f"pairs({sha256_of(self.pool.generator.recipe)}, {self.stops[domain]})"
