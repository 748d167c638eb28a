"""Images with two labels each: the classes of the first label, then those of the second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from clbench.data.pool import Pool, Split
from clbench.data.synbols.pool import Label, SynbolsPool
from clbench.util.hashing import sha256_of


class BothLabels(Pool):
    """A pool of twice the size; sample ``size + i`` is sample ``i`` with the second label."""

    def __init__(self, pool: Pool, labels: tuple[Label, Label]) -> None:
        """Wrap a pool of synbols or of their latents.

        Args:
            pool: the pool; its own label is ignored.
            labels: the two attributes that give the classes.
        """
        assert isinstance(pool.raw, SynbolsPool)
        first, second = (pool.raw.relabelled(label) for label in labels)
        self._pool, self._which, self._labelled = pool, labels, (first, second)
        self.input_shape, self.dtype, self.scale = pool.input_shape, pool.dtype, pool.scale
        self.device, self.frozen_bytes = pool.device, pool.frozen_bytes
        self.parts = (first.n_classes, second.n_classes)
        self.n_classes = sum(self.parts)
        self.class_names = first.class_names + second.class_names
        self.sha256 = sha256_of([pool.sha256, *(p.sha256 for p in self._labelled)])

    @property
    def raw(self) -> Pool:
        """This pool without an encoder; with one, the images with both labels."""
        raw = self._pool.raw
        return self if raw is self._pool else BothLabels(raw, self._which)

    def size(self, split: Split) -> int:
        """Twice the number of images."""
        return 2 * self._pool.size(split)

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64."""
        first, second = (p.labels(split) for p in self._labelled)
        return np.concatenate((first, second + self.parts[0]))

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """``(len(index), *input_shape)``: those samples, on the device."""
        return self._pool.gather(split, np.asarray(index) % self._pool.size(split))

    def changed(
        self, split: Split, index: np.ndarray, change: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """See ``Pool``."""
        return self._pool.changed(split, np.asarray(index) % self._pool.size(split), change)

    def factors(self, split: Split, index: np.ndarray) -> Mapping[str, np.ndarray]:
        """Those of the images."""
        return self._pool.factors(split, np.asarray(index) % self._pool.size(split))

    def describe(self) -> dict[str, Any] | None:
        """That of the pool underneath."""
        return self._pool.describe()

    def tuning(self) -> BothLabels:
        """The tuning pool with both labels."""
        return BothLabels(self._pool.tuning(), self._which)
