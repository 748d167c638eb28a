"""What latents are like: overlap and likeness against NumPy, and in cases that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import pool

from benchmarks.study.latents import class_similarity, describe, subspace_overlap
from clbench.configure.config import resolve_point
from clbench.engine.diagnostics import rankme

RNG = np.random.default_rng(0)


def theirs(tasks: list[np.ndarray], k: int) -> float:
    """By the singular vectors of the centred samples instead of the covariance."""
    bases = []
    for x in tasks:
        _, _, vh = np.linalg.svd(x - x.mean(0), full_matrices=False)
        bases.append(vh[:k].T)
    pairs = [
        np.linalg.norm(bases[i].T @ bases[j], "fro") ** 2 / k
        for i in range(len(bases))
        for j in range(i)
    ]
    return float(np.mean(pairs))


@pytest.mark.parametrize("k", [1, 3, 7])
def test_overlap_is_that_of_numpys_svd(k: int):
    tasks = [RNG.normal(size=(40 + 5 * t, 12)) * np.arange(1, 13) + t for t in range(4)]
    found = subspace_overlap([torch.from_numpy(x) for x in tasks], k)
    assert found == pytest.approx(theirs(tasks, k))


def test_overlap_of_equal_and_of_orthogonal_tasks():
    x = torch.from_numpy(RNG.normal(size=(50, 6)))
    assert subspace_overlap([x, 3 * x + 7], 4) == pytest.approx(1)
    left, right = torch.zeros(50, 12).double(), torch.zeros(50, 12).double()
    left[:, :6], right[:, 6:] = x, x
    assert subspace_overlap([left, right], 4) == pytest.approx(0, abs=1e-12)
    assert subspace_overlap([x]) is None


def test_overlap_takes_no_more_directions_than_there_are():
    tasks = [torch.from_numpy(RNG.normal(size=(n, 9))) for n in (4, 30)]
    assert subspace_overlap(tasks) == pytest.approx(theirs([x.numpy() for x in tasks], 3))


def test_class_similarity_is_the_mean_cosine_of_pairs_of_means():
    x, y = RNG.normal(size=(60, 5)) + 0.5, RNG.integers(4, size=60)
    means = np.stack([x[y == c].mean(0) for c in range(4)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    cosine = unit @ unit.T
    wanted = cosine[np.triu_indices(4, 1)].mean()
    found = class_similarity(torch.from_numpy(x), torch.from_numpy(y))
    assert found == pytest.approx(wanted)
    assert class_similarity(torch.ones(3, 2), torch.zeros(3)) is None


@pytest.mark.parametrize("shape", [(6,), (4, 4)])
def test_a_streams_latents_are_those_of_all_its_training_samples(shape: tuple[int, ...]):
    on = pool(n_classes=10, n_train=9, shape=shape)
    point = {"scenario": "latent_replay", "strategy": "naive", "encoder": "none"}
    found = describe(resolve_point(point).scenario.stream(on, 2))
    x = on.gather("train", np.arange(on.size("train"))).flatten(1).double() * on.scale
    y = on.labels("train")
    assert found.dimension == int(np.prod(shape))
    assert found.rankme == pytest.approx(float(rankme(x)), rel=1e-4)
    assert found.class_similarity == pytest.approx(class_similarity(x, torch.from_numpy(y)), 1e-4)
    tasks = [x[(y // 2) == t] for t in range(5)]
    assert found.subspace_overlap == pytest.approx(subspace_overlap(tasks), 1e-4)
