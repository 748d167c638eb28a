"""Domain-incremental streams: what is trained and tested in which domain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_scenarios import IMAGES, TEN, make

from clbench.data.corruptions import KINDS
from clbench.errors import UsageError


@pytest.mark.parametrize(("n", "probed"), [(10, 10), (32, 32), (33, 32), (500, 32)])
def test_domain_incremental_probes_at_most_32_domains(n: int, probed: int):
    stream = make("domain_incremental", n_tasks=n)
    assert len(stream.cells) == 10 * probed
    assert sum(stream.view(t) is not None for t in range(n)) == probed


def test_domain_incremental_endless():
    stream = make("domain_incremental", n_tasks=None)
    assert stream.n_tasks is None
    assert stream.view(31) is not None
    assert stream.view(32) is None
    assert len(stream.experience(10_000)) == 30


def test_domain_incremental_trains_and_tests_in_the_same_domain():
    """The permutation of task t maps raw samples to both what is learnt and what is scored."""
    stream = make("domain_incremental", n_tasks=3)
    raw = make("scole", n_tasks=1)
    for t in range(3):
        task = stream.experience(t)
        order = None
        plain = TEN.gather("train", stream.draw(t).index)
        for columns in itertools.permutations(range(6)):
            if task.x.tolist() == plain[:, list(columns)].tolist():
                order = list(columns)
        assert order is not None
        assert (order == list(range(6))) == (t == 0)
        world = stream.world()
        mine = world.x[(world.cell // 10) == t]
        assert sorted(mine.tolist()) == sorted(raw.world().x[:, order].tolist())


def test_domain_incremental_rotates_evenly():
    stream = make("domain_incremental", IMAGES, transform="rotated", n_tasks=4, max_degrees=90.0)
    assert stream.transform.degrees == (0.0, 30.0, 60.0, 90.0)  # type: ignore[union-attr]
    upright, turned = stream.draw(0), stream.experience(3)
    assert stream.experience(0).x.tolist() == IMAGES.gather("train", upright.index).tolist()
    raw = IMAGES.gather("train", stream.draw(3).index).numpy()
    quarter = [np.rot90(image, k) for image in raw for k in (1,)]
    assert np.abs(np.array(quarter).astype(int) - turned.x.numpy().astype(int)).max() <= 1


def test_domain_incremental_corrupts_by_kind():
    stream = make("domain_incremental", IMAGES, transform="corrupted", n_tasks=17)
    assert stream.transform.kinds == tuple(KINDS)  # type: ignore[union-attr]
    with pytest.raises(UsageError):
        make("domain_incremental", IMAGES, transform="corrupted", n_tasks=18)


def test_domain_samples_are_different_samples():
    stream = make("domain_incremental", n_tasks=4)
    keys = [set(stream.draw(t).keys) for t in range(4)]
    assert len(set.union(*keys)) == 4 * 30


@pytest.mark.parametrize("transform", ["rotated", "corrupted"])
def test_vectors_cannot_be_rotated_or_corrupted(transform: str):
    with pytest.raises(UsageError, match="images"):
        make("domain_incremental", transform=transform)
