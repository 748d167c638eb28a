"""Seeds of tasks are numpy's, and so is a weighted draw."""

from __future__ import annotations

import random

import numpy as np
import pytest

from clbench import seeding
from clbench.seeding import Axis

SEEDS = (0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**70 + 5, 2**140 + 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("t", [0, 1, 7919, 2**32 - 1, 2**32])
@pytest.mark.parametrize("axis", [Axis.STREAM, Axis.FISHER])
def test_seeds_and_generators_are_those_of_numpy(seed: int, t: int, axis: Axis):
    numpys = np.random.SeedSequence(seed, spawn_key=(int(axis), t))
    assert seeding.integer(seed, axis, t) == int(numpys.generate_state(1, np.uint64)[0] >> 1)
    made = seeding.generator(seed, axis, t)
    assert made.bit_generator.state == np.random.default_rng(numpys).bit_generator.state


def test_weighted_draws_are_those_of_numpy_and_leave_its_state():
    choose = random.Random(0)
    for t in range(500):
        n = choose.randint(1, 12)
        p = np.random.default_rng(t).random(n) ** choose.choice([1, 8])
        if n > 2 and t % 5 == 0:
            p[0] = 0
        p /= p.sum()
        size = choose.randint(1, int((p > 0).sum()))
        ours = seeding.generator(3, Axis.STREAM, t)
        numpys = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(0, t)))
        for _ in range(3):
            drawn = ours.choice(n, size, replace=False, p=p)
            assert drawn.tolist() == numpys.choice(n, size, replace=False, p=p).tolist()
        assert ours.bit_generator.state == numpys.bit_generator.state


@pytest.mark.parametrize(
    ("size", "p"), [(3, [0.5, 0.5]), (1, [0.5, 0.6]), (2, [1.0, 0.0]), (1, [-1.0, 2.0])]
)
def test_what_numpy_refuses_is_refused(size: int, p: list[float]):
    with pytest.raises(ValueError, match=r"population|[Pp]robabilities|non-zero|Fewer"):
        seeding.generator(0, Axis.TASK, 0).choice(2, size, replace=False, p=np.array(p))
