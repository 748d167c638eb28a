"""Rings: points of the plane around one centre, a class for each radius; drawn from a seed.

Source and licence: made here; none.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from clbench import Arrays, DataSet
from clbench.settings import AtLeast


@dataclass(frozen=True)
class Rings(DataSet):
    """Points ``(x, y)`` as float32."""

    n_classes: Annotated[int, AtLeast(2)] = 6
    """Number of rings."""
    per_class: Annotated[int, AtLeast(1)] = 100
    """Training samples of each ring; there are half as many test samples."""

    def arrays(self) -> Arrays:
        """The whole data set in memory."""
        train, test = (self._split(n, number) for number, n in enumerate(self._sizes()))
        names = tuple(f"ring {k}" for k in range(self.n_classes))
        return Arrays(*train, *test, n_classes=self.n_classes, class_names=names)

    def _sizes(self) -> tuple[int, int]:
        return self.per_class, max(1, self.per_class // 2)

    def _split(self, n: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        draw = np.random.default_rng(number)
        y = np.repeat(np.arange(self.n_classes), n)
        radius = (y + 1 + draw.normal(0, 0.1, len(y))) / self.n_classes
        angle = draw.uniform(0, 2 * np.pi, len(y))
        x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return x.astype(np.float32), y
