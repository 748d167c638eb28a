"""Handwritten digits, 8x8, 10 classes, 1,797 images; comes with scikit-learn (the default).

Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits" (test part).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clbench.data.dataset import DataSet
from clbench.data.pool import Arrays


@dataclass(frozen=True)
class Digits(DataSet):
    """1,437 training and 360 test images with values 0..16 as uint8."""

    def arrays(self) -> Arrays:
        """Load from the installed package; every fifth image of a class is a test image."""
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return split_every(5, x.reshape(-1, 8, 8).astype(np.uint8), y.astype(np.int64), 1 / 16)
