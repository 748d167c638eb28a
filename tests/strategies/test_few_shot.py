"""Few-shot tricks: the simplex against its corners, pseudo-classes and contrast against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import go, run

import clbench
from clbench.errors import UsageError
from clbench.nets.features import features
from clbench.nets.losses import supervised_contrastive
from clbench.nets.parameters import output_layer
from clbench.plugins.registry import find
from clbench.strategy import Batch
from clbench.stream import TaskData

WORDS = ("scenario=class_incremental", "strategy=few_shot", "data=digits", "device=cpu")


def corners(n: int) -> np.ndarray:
    """``(n, n)``: points of length one with equal angles: the unit vectors, seen from their centre."""
    points = np.eye(n) - 1 / n
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


@pytest.mark.parametrize("n", [2, 5, 40])
def test_the_simplex_has_equal_angles_and_cosines_are_those_to_its_corners(n: int) -> None:
    to_simplex = vars(__import__(find("strategy", "few_shot").load().__module__, fromlist=["x"]))[
        "to_simplex"
    ]
    sides = corners(n)
    angles = sides @ sides.T
    assert np.allclose(angles[~np.eye(n, dtype=bool)], -1 / (n - 1))
    p = torch.randn(7, n, dtype=torch.float64)
    centred = p.numpy() - p.numpy().mean(1, keepdims=True)
    wanted = centred @ sides.T / np.linalg.norm(centred, axis=1, keepdims=True)
    torch.testing.assert_close(to_simplex(p), torch.as_tensor(wanted))
    torch.testing.assert_close(to_simplex(p + 3), to_simplex(p))


def prepared(*words: str):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    strategy = clbench.prepare(*WORDS, *words).strategy()
    x, y = torch.randint(17, (12, 8, 8), dtype=torch.uint8), torch.arange(12) % 4
    strategy.begin(TaskData(x, y, torch.arange(12)))
    return strategy, Batch(x, y, None, torch.arange(4))


@pytest.mark.parametrize("prototypes", ["simplex", "learnt"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_loss_is_that_of_single_samples(prototypes: str, turned: bool) -> None:
    strategy, batch = prepared(
        f"strategy.prototypes={prototypes}", f"strategy.pseudo_classes={str(turned).lower()}"
    )
    layer = output_layer(strategy.model)
    losses = []
    for turn in range(4 if turned else 1):
        for one, label in zip(batch.x.numpy(), batch.y.tolist(), strict=True):
            x = torch.as_tensor(np.rot90(one, turn).copy())[None]
            z = features(strategy.model, x)[0]
            w = layer.weight
            if prototypes == "simplex":
                p = (w @ z).detach().numpy()
                p = p - p.mean()
                cosines = corners(len(p)).astype(np.float32) @ p / np.linalg.norm(p)
            else:
                cosines = (w @ z / z.norm() / w.norm(dim=1)).detach().numpy()
                cosines = np.where(np.arange(len(w)) % 10 < 4, cosines, -np.inf)
            scores = 16 * cosines
            losses.append(np.log(np.exp(scores).sum()) - scores[10 * turn + label])
    assert strategy.loss(batch).item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_learnt_prototypes_of_classes_to_come_take_no_part_where_boundaries_are_hidden() -> None:
    strategy, batch = prepared("strategy.prototypes=learnt")
    batch.classes = None
    rows = strategy.per_parameter(strategy.gradient_of(batch))[-1]
    assert [bool(row.any()) for row in rows] == [True] * 4 + [False] * 6


@pytest.mark.parametrize("prototypes", ["simplex", "learnt"])
def test_every_layer_is_trained(prototypes: str) -> None:
    strategy, batch = prepared(f"strategy.prototypes={prototypes}", "strategy.contrast=0.1")
    parts = strategy.per_parameter(strategy.gradient_of(batch))
    assert all(bool(part.abs().sum() > 0) for part in parts)


def test_contrast_adds_its_weight_of_the_supervised_loss_of_features() -> None:
    plain, batch = prepared()
    both, _ = prepared("strategy.contrast=0.3")
    assert torch.equal(plain.weights, both.weights)
    z = features(both.model, batch.x)
    added = supervised_contrastive(z, batch.y, torch.arange(12), 0.1)
    torch.testing.assert_close(both.loss(batch), plain.loss(batch) + 0.3 * added)


def test_sessions_add_means_and_leave_the_network_as_it_is() -> None:
    r = clbench.prepare(
        *WORDS, "scenario.first=4", "scenario.shots=5", "scenario.n_tasks=3", "seed=1"
    )
    strategy = r.strategy()
    strategy.learn(r.stream.experience(0))
    weights, means = strategy.weights.clone(), strategy.means.mean.clone()
    task = r.stream.experience(1)
    strategy.learn(task)
    assert torch.equal(strategy.weights, weights)
    with torch.no_grad():
        z = features(strategy.model, task.x)
    for label in task.classes.tolist():
        assert int(strategy.means.count[label]) == 5
        torch.testing.assert_close(strategy.means.mean[label], z[task.y == label].mean(0))
    old = strategy.means.count > 5
    assert torch.equal(strategy.means.mean[old], means[old])


def test_pseudo_classes_of_vectors_are_refused() -> None:
    with pytest.raises(UsageError, match="square images"):
        run(
            "scenario=class_incremental", "strategy=few_shot", "strategy.pseudo_classes=true"
        ).strategy()
    with pytest.raises(UsageError, match="leave it out"):
        go(run("scenario=class_incremental", "strategy=few_shot", "strategy.mask=group"))
