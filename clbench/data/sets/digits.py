"""Handwritten digits, 8x8 gray, 10 classes, 1,797 images; comes with scikit-learn (the default).

Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits" (test part).
Licence: CC BY 4.0 (UCI), distributed with scikit-learn under BSD-3-Clause.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
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
        # Importing scikit-learn takes a second; its file is all that is needed.
        found = find_spec("sklearn")
        assert found is not None
        assert found.origin is not None
        path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
        rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
        x, y = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
        return split_every(5, x, y, 1 / 16)
