"""The model that data recommend takes every shape that the loaders accept, in batches of any size."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import go, record_of
from torch import nn

import clbench
from clbench.data.shapes import suited_model
from clbench.nets.batch_norm import BatchNorm2d
from clbench.plugins.registry import find

SIDES = (1, 2, 3, 15, 16, 17, 33)
SHAPES = [
    *((n,) for n in (1, 2, 64)),
    *itertools.product(SIDES, (1, 16)),
    *itertools.product((1, 2, 3, 5), (1, 3, 16), (1, 16, 33)),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_trains_in_batches_of_every_size(shape: tuple[int, ...]):
    torch.manual_seed(0)
    network = find("model", suited_model(shape)).load()().build(shape, 4, 1 / 255)
    for n in (1, 2, 3):
        x = torch.randint(0, 256, (n, *shape), dtype=torch.uint8)
        scores = network.train()(x)
        F.cross_entropy(scores, torch.arange(n)).backward()
        assert scores.shape == (n, 4)
        assert all(
            p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters()
        )
        assert bool(network.eval()(x).isfinite().all())


@pytest.mark.parametrize("shape", [(2, 4, 1, 1), (1, 4, 2, 1), (3, 4, 5, 5)])
def test_batches_of_several_values_give_the_bits_of_torchs_layer(shape: tuple[int, ...]):
    ours, torchs = BatchNorm2d(4), nn.BatchNorm2d(4)
    for mode in (True, False):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        assert torch.equal(ours.train(mode)(x), torchs.train(mode)(x))
    for name, value in torchs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


def test_one_value_is_normalised_by_running_statistics_and_leaves_them():
    layer = BatchNorm2d(4)
    layer(torch.randn(8, 4, 2, 2))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = torch.randn(1, 4, 1, 1)
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in before.items())
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(4)(x)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 4, 4), (1, 1), (5,)], ids=str)
def test_a_last_batch_of_one_sample_completes(tmp_path: Path, shape: tuple[int, ...]):
    """Two classes of 9 and 8 samples: 17 in a task, so that batches of 8 leave one."""
    y = np.repeat(np.arange(2), (9, 8))
    x = np.arange(17 * int(np.prod(shape)), dtype=np.uint8).reshape(17, *shape)
    np.savez(tmp_path / "d.npz", train_x=x, train_y=y, test_x=x[5:], test_y=y[5:])
    words = ("scenario=class_incremental", "strategy=naive", "data=npz", "strategy.batch_size=8")
    run = clbench.prepare(*words, f"data.path={tmp_path / 'd.npz'}", "device=cpu")
    strategy, outcome = go(run)
    assert (outcome.status, outcome.ledger.updates) == ("completed", 3)
    assert record_of(run, strategy, outcome).error is None
