"""Handwritten digits, 8x8 gray, 10 classes, 1,797 images; comes with scikit-learn (the default).

Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits" (test part).
Licence: CC BY 4.0 (UCI), distributed with scikit-learn under BSD-3-Clause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from clbench import Arrays, DataSet
from clbench.data.splits import split_every


@dataclass(frozen=True)
class Digits(DataSet):
    """1,442 training and 355 test images, 8x8, with values 0..16 as uint8."""

    is_default: ClassVar[bool] = True

    def arrays(self) -> Arrays:
        """Load from the installed package; every fifth image of a class is a test image."""
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return split_every(5, x.reshape(-1, 8, 8).astype(np.uint8), y.astype(np.int64), 1 / 16)
