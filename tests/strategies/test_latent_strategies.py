"""Statistics of latents against the recursions they are of, and against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid
from small import go, pool, run
from torch import Tensor, nn

from clbench.engine.ledger import state_bytes
from clbench.errors import UsageError
from clbench.latents import ClassMeans, solve_ridge, squared_distances
from clbench.plugins.registry import find
from clbench.strategy import Strategy, StreamInfo
from clbench.stream import TaskData

N_CLASSES, WIDTH = 5, 7


def build(name: str, width: int = WIDTH, scale: float = 1.0, **settings: Any) -> Any:
    cls = find("strategy", name).load()
    info = StreamInfo((width,), torch.float32, scale, N_CLASSES, None)
    return cls(info, cls.Config(**settings), nn.Identity)


def samples(n: int, seed: int, classes: int = N_CLASSES, width: int = WIDTH) -> TaskData:
    """Overlapping classes of unequal size, far from the origin."""
    g = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, generator=g).square() * classes).long()
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99)) + 1
    spread = torch.randn(width, width, generator=torch.Generator().manual_seed(98)) / 2
    return TaskData(centres[y] + torch.randn(n, width, generator=g) @ spread, y, torch.arange(n))


def learnt(strategy: Strategy, *tasks: TaskData) -> Any:
    for task in tasks:
        strategy.learn(task)
    strategy.prepare()
    return strategy


def recursion(x: Tensor, y: Tensor, weighting: str) -> tuple[Tensor, Tensor]:
    """Sample by sample in float64, as the docstring of slda has it; covariance and means."""
    mean = torch.zeros(N_CLASSES, x.shape[1], dtype=torch.float64)
    covariance = torch.ones(x.shape[1], x.shape[1], dtype=torch.float64)  # published; is erased
    count = [0] * N_CLASSES
    for sample, label in zip(x.double(), y.tolist(), strict=True):
        if label < 0:
            continue
        n = sum(count)
        m = n if weighting == "published" else count[label]
        delta = sample - mean[label]
        covariance = (n * covariance + m / (m + 1) * torch.outer(delta, delta)) / (n + 1)
        count[label] += 1
        mean[label] += delta / count[label]
    return covariance, mean


@pytest.mark.parametrize("weighting", ["published", "pooled"])
@given(
    batch_size=st.integers(1, 40),
    n=st.integers(1, 60),
    unlabelled=st.integers(0, 59),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_slda_is_the_recursion_whatever_the_batches(
    weighting: str, batch_size: int, n: int, unlabelled: int, seed: int
):
    task = samples(n, seed)
    task.y[unlabelled % n :: 7] = -1
    slda = learnt(build("slda", weighting=weighting, batch_size=batch_size).double(), task)
    if not bool((task.y >= 0).any()):
        assert not bool(slda.scatter.any())
        return
    covariance, mean = recursion(task.x, task.y, weighting)
    torch.testing.assert_close(slda.covariance(), covariance, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slda.means.mean, mean, rtol=1e-10, atol=1e-12)
    inverse = torch.linalg.pinv((1 - 1e-4) * covariance + 1e-4 * torch.eye(WIDTH).double())
    scores = task.x.double() @ inverse @ mean.T - (mean @ inverse * mean).sum(1) / 2
    seen = task.y[task.y >= 0].unique()
    expected = torch.full_like(scores, -torch.inf)
    expected[:, seen] = scores[:, seen]
    torch.testing.assert_close(slda(task.x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weighting", ["published", "pooled"])
def test_slda_in_single_precision_is_near_the_recursion_in_double(weighting: str):
    task = samples(10_000, 1)
    slda = learnt(build("slda", weighting=weighting), task)
    covariance, _ = recursion(task.x, task.y, weighting)
    torch.testing.assert_close(slda.covariance().double(), covariance, rtol=1e-5, atol=1e-6)


def test_the_published_weighting_is_not_the_covariance_within_classes():
    """It comes near to it as samples come."""
    gaps = []
    for n in (100, 1000, 10_000):
        task = samples(n, 2)
        published, pooled = (
            learnt(build("slda", weighting=w).double(), task).covariance()
            for w in ("published", "pooled")
        )
        within = sum(
            torch.cov(x.T, correction=0) * len(x)
            for x in (task.x[task.y == c].double() for c in range(N_CLASSES))
        )
        torch.testing.assert_close(pooled, within / n)
        gaps.append(float((published - pooled).norm() / pooled.norm()))
    assert gaps[0] > 0.1
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]


def test_pooled_slda_is_the_shrinkage_lda_of_scikit_learn():
    """Its shrinkage is towards the mean variance, of which ours is another amount, and a scale."""
    task, epsilon = samples(400, 3), 0.05
    slda = learnt(build("slda", weighting="pooled", shrinkage=epsilon).double(), task)
    mean_variance = float(slda.covariance().diagonal().mean())
    ratio = epsilon / (1 - epsilon)
    amount = ratio / (mean_variance + ratio)
    x, y = task.x.double().numpy(), task.y.numpy()
    # Priors enter its covariance, too: those of the data, and then taken out of its intercepts.
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=amount).fit(x, y)
    scale = (1 - amount) / (1 - epsilon)
    scores = (x @ lda.coef_.T + lda.intercept_ - np.log(lda.priors_)) * scale
    torch.testing.assert_close(slda(task.x), torch.from_numpy(scores), rtol=1e-5, atol=1e-5)


def test_a_covariance_streamed_in_ten_thousand_updates_is_that_of_one_batch():
    tasks = [samples(10_000, seed) for seed in range(4, 8)]
    slda = build("slda", weighting="pooled", batch_size=4)
    learnt(slda, *tasks)
    x, y = torch.cat([t.x for t in tasks]).double(), torch.cat([t.y for t in tasks])
    means = torch.stack([x[y == c].mean(0) for c in range(N_CLASSES)])
    whole = (x - means[y]).T @ (x - means[y]) / len(x)
    assert slda.scatter.dtype == torch.float32
    assert float((slda.covariance() - whole).norm() / whole.norm()) < 1e-5
    torch.testing.assert_close(slda.means.mean.double(), means, rtol=1e-4, atol=1e-5)


@given(batch_size=st.integers(1, 50), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_nmc_is_the_nearest_centroid_of_scikit_learn(batch_size: int, seed: int):
    task, asked = samples(80, seed), samples(50, seed + 1)
    nmc = learnt(build("nmc", batch_size=batch_size).double(), task)
    centroid = NearestCentroid().fit(task.x.double().numpy(), task.y.numpy())
    seen = centroid.classes_
    np.testing.assert_allclose(nmc.means.mean[seen], centroid.centroids_, rtol=1e-9)
    assert nmc(asked.x).argmax(1).tolist() == centroid.predict(asked.x.double().numpy()).tolist()


@given(shift=st.floats(-50, 50), n=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_squared_distances(shift: float, n: int):
    x, centres = samples(n, 1).x.double() + shift, samples(6, 2).x.double()
    expected = torch.cdist(x, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
    torch.testing.assert_close(squared_distances(x, centres), expected, rtol=1e-8, atol=1e-8)


def test_a_matrix_that_lost_its_definiteness_to_rounding_is_mended():
    basis = torch.linalg.qr(samples(WIDTH, 3).x.double()).Q
    values = torch.tensor([1e6, 10, 1, 1, 1, 0.0, -1.0], dtype=torch.float64)
    right = torch.randn(WIDTH, 2, generator=torch.Generator().manual_seed(0)).double()
    found = solve_ridge(basis @ values.diag() @ basis.T, 0.5, right)
    mended = basis @ (values + 0.5).clamp_min(0.5).diag() @ basis.T
    torch.testing.assert_close(found, torch.linalg.solve(mended, right), rtol=1e-6, atol=1e-6)


def test_nothing_seen_is_nothing_ruled_out():
    for name in ("nmc", "slda"):
        strategy = build(name)
        strategy.prepare()
        x = samples(3, 0).x
        assert bool(strategy(x).isfinite().all())
        assert float(strategy(x).std(dim=1).max()) == 0
        learnt(strategy, TaskData(x[:1], torch.tensor([2]), torch.arange(1)))
        assert strategy(x).isfinite().any(0).tolist() == [False, False, True, False, False]


def test_unlabelled_samples_move_no_mean():
    means, task = ClassMeans(N_CLASSES, WIDTH), samples(30, 0)
    half = torch.arange(30) % 2 == 0
    share = means.shares(task.y.where(half, -1), 30)
    means.move(means.gaps(task.x, task.y), task.y, share)
    assert int(means.count.sum()) == 15
    torch.testing.assert_close(means.mean[0], task.x[(task.y == 0) & half].mean(0))
    before = means.mean.clone()
    share = means.shares(torch.full_like(task.y, -1), 7)
    means.move(means.gaps(task.x, task.y), task.y, share)
    assert torch.equal(means.mean, before)
    assert int(means.count.sum()) == 15


@pytest.mark.parametrize("batch_size", [1, 7, 30, 64])
def test_shares_count_to_the_end_of_the_batch(batch_size: int):
    means, y = ClassMeans(3, 1), torch.randint(-1, 3, (30,), generator=torch.Generator())
    means.count.copy_(torch.tensor([5, 0, 2]))
    share = means.shares(y, batch_size)
    for i, label in enumerate(y.tolist()):
        end = (i // batch_size + 1) * batch_size
        seen = [5, 0, 2][label] + int((y[:end] == label).sum())
        assert float(share[i]) == pytest.approx(0 if label < 0 else 1 / seen)
    assert means.count.tolist() == [c + int((y == k).sum()) for k, c in enumerate([5, 0, 2])]


@pytest.mark.parametrize(
    ("name", "values"), [("nmc", 4 * 36), ("slda", 4 * 36 + 36 * 36 + 4 * 36 + 4)]
)
def test_their_state_is_the_statistics(name: str, values: int):
    images = pool(shape=(6, 6))
    r = run(f"strategy={name}", "scenario=class_incremental", on=images)
    strategy, outcome = go(r)
    size = 4 * values + 8 * 4
    assert outcome.ledger.state_bytes == state_bytes(strategy.state_dict()) == size
    assert outcome.ledger.updates == 0
    assert outcome.ledger.uncounted == []
    assert outcome.ledger.world_accuracy[-1] > 0.9


@pytest.mark.parametrize(
    ("name", "setting"),
    [("nmc", ("batch_size", 0)), ("slda", ("shrinkage", 0.0)), ("slda", ("shrinkage", 1.1))],
)
def test_bad_settings_are_refused(name: str, setting: tuple[str, Any]):
    with pytest.raises(UsageError, match=rf"strategy\.{setting[0]}="):
        build(name, **{setting[0]: setting[1]})
