"""Every n-th sample of a class is held out, and nothing is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clbench.data.splits import held_out, seeded_digest, split_every
from clbench.errors import UsageError


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


SHARES = st.floats(0.01, 0.99)
CLASSES = st.lists(st.integers(2, 30), min_size=1, max_size=5)


@given(SHARES, CLASSES, st.integers(0, 9))
def test_a_share_of_every_class_is_held_out(share, sizes, seed):
    y = np.repeat(np.arange(len(sizes)), sizes)
    digests = [seeded_digest(bytes([i, k]), seed) for i, k in enumerate(y)]
    test = held_out(share, y, digests)
    for label, n in enumerate(sizes):
        assert test[y == label].sum() == min(max(1, round(share * n)), n - 1)
    order = np.random.default_rng(seed).permutation(len(y))
    shuffled = held_out(share, y[order], [digests[i] for i in order])
    assert (shuffled == test[order]).all(), (
        "a sample's side does not depend on the order of the file"
    )


@given(SHARES, st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(0, 9))
def test_equal_samples_stay_on_one_side(share, contents, seed):
    digests = [seeded_digest(bytes([c]), seed) for c in contents]
    y = np.zeros(len(contents), dtype=np.int64)
    if len(set(contents)) == 1:
        with pytest.raises(UsageError, match="no two different"):
            held_out(share, y, digests)
        return
    test = held_out(share, y, digests)
    assert 0 < test.sum() < len(test)
    for content in set(contents):
        assert len(set(test[np.array(contents) == content])) == 1


def test_another_seed_holds_out_others():
    y = np.zeros(100, dtype=np.int64)
    sides = [held_out(0.5, y, [seeded_digest(bytes([i]), s) for i in range(100)]) for s in (0, 1)]
    assert 20 < (sides[0] != sides[1]).sum() < 80


def test_a_class_that_cannot_be_parted_is_named():
    with pytest.raises(UsageError, match="class 'rare' has no two different"):
        held_out(0.2, np.array([0, 0, 1]), [b"a", b"b", b"c"], ("many", "rare"))
