"""Every n-th sample of a class is held out, and nothing is lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clbench.data.splits import split_every


@given(st.integers(2, 6), st.lists(st.integers(0, 3), max_size=60), st.integers(0, 100))
def test_parts_are_disjoint_and_hold_every_nth_of_each_class(every, extra, seed):
    y = np.array([*range(4)] * every + extra)
    np.random.default_rng(seed).shuffle(y)
    x = np.arange(len(y))[:, None]
    arrays = split_every(every, x, y, 0.5)
    assert sorted([*arrays.train_x[:, 0], *arrays.test_x[:, 0]]) == [*range(len(y))]
    assert (np.bincount(arrays.test_y) == np.bincount(y) // every).all()
    np.testing.assert_array_equal(y[arrays.train_x[:, 0]], arrays.train_y)
    np.testing.assert_array_equal(y[arrays.test_x[:, 0]], arrays.test_y)
    assert (arrays.n_classes, arrays.scale) == (4, 0.5)


def test_order_is_kept_and_the_fifth_is_taken():
    arrays = split_every(5, np.arange(11)[:, None], np.zeros(11, dtype=np.int64), 1.0)
    assert arrays.test_x[:, 0].tolist() == [4, 9]
    assert arrays.train_x[:, 0].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10]
