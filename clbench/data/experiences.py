"""Pools that bring a stream of their own: which samples come together, in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from clbench.data.pool import Pool, Split
from clbench.data.rows import Rows
from clbench.errors import UsageError
from clbench.util.hashing import sha256_of


class Wrapped(Pool):
    """A pool with the samples of another."""

    def __init__(self, pool: Pool) -> None:
        self.inner = pool
        self.n_classes, self.parts = pool.n_classes, pool.parts
        self.input_shape, self.dtype, self.scale = pool.input_shape, pool.dtype, pool.scale
        self.device, self.frozen_bytes = pool.device, pool.frozen_bytes
        self.class_names, self.notes, self.sha256 = pool.class_names, pool.notes, pool.sha256

    def size(self, split: Split) -> int:
        """The number of samples of a split."""
        return self.inner.size(split)

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""
        return self.inner.labels(split)

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """``(len(index), *input_shape)``: those samples, on the device."""
        return self.inner.gather(split, index)

    def rows(self, split: Split, index: np.ndarray) -> Rows | None:
        """See ``Pool``."""
        return self.inner.rows(split, index)

    def changed(
        self, split: Split, index: np.ndarray, change: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """See ``Pool``."""
        return self.inner.changed(split, index, change)

    def factors(self, split: Split, index: np.ndarray) -> Mapping[str, np.ndarray]:
        """Those of the samples."""
        return self.inner.factors(split, index)

    def describe(self) -> dict[str, Any] | None:
        """That of the pool underneath."""
        return self.inner.describe()

    def tuning(self) -> Pool:
        """The tuning pool underneath."""
        return self.inner.tuning()


class ExperiencePool(Wrapped):
    """A pool whose samples belong to experiences, in training and in testing."""

    def __init__(
        self, pool: Pool, train: Sequence[np.ndarray], test: Sequence[np.ndarray], name: str
    ) -> None:
        """Wrap a pool.

        Args:
            pool: the samples.
            train: for each experience, ``(n,)`` int64 positions in the training split.
            test: the same of the test split; one, or one for each training experience.
            name: of the stream, for people.
        """
        super().__init__(pool)
        self.name = name
        self.experiences: dict[Split, tuple[np.ndarray, ...]] = {
            "train": tuple(train),
            "test": tuple(test),
        }
        lists = [[e.tolist() for e in part] for part in self.experiences.values()]
        self.sha256 = sha256_of([pool.sha256, lists])

    def tuning(self) -> Pool:
        """Refuse: experiences may be too small to be split.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self.name}: its stream has no validation part; set evaluate_on=test")


class ByDomain(Wrapped):
    """The same samples with labels that tell the experience too: ``experience * n_classes + class``."""

    def __init__(self, pool: Pool, experiences: Mapping[Split, Sequence[np.ndarray]]) -> None:
        super().__init__(pool)
        each = pool.n_classes
        self.n_classes, self.class_names = each * len(experiences["train"]), ()
        self._labels: dict[Split, np.ndarray] = {}
        for split, parts in experiences.items():
            labels = pool.labels(split).copy()
            for number, index in enumerate(parts):
                labels[index] += number * each
            self._labels[split] = labels
        self.sha256 = sha256_of([pool.sha256, "by domain"])

    @property
    def raw(self) -> Pool:
        """The raw samples underneath."""
        return self.inner.raw

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""
        return self._labels[split]
