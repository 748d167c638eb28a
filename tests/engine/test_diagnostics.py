"""Diagnostics: closed forms, nothing that they measure changes, and the record has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import run
from test_harness import SCOLE
from torch import Tensor, nn

from clbench.configure.common import DIAGNOSTICS
from clbench.engine import diagnostics
from clbench.engine.build import Run
from clbench.engine.diagnostics import (
    Probe,
    active_units,
    dead_units,
    effective_rank,
    observe,
    rankme,
    refit,
    weight_norm,
)
from clbench.strategy import Strategy

ALL = "diagnostics=all"
IMAGES = ("scenario=class_incremental", "scenario.n_tasks=2")


def probe_of(r: Run, strategy: Strategy | None = None) -> Probe:
    return Probe(DIAGNOSTICS, strategy or r.strategy(), r.stream, 1)


# --- rank ----------------------------------------------------------------------------------------


def features(seed: int, n: int, k: int) -> Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=(n, k)))


SHAPES = st.tuples(st.integers(0, 99), st.integers(1, 12), st.integers(1, 12))


def rankme_by_hand(z: np.ndarray, epsilon: float) -> float:
    """From the eigenvalues of the Gram matrix, term by term."""
    sigma = np.sqrt(np.clip(np.linalg.eigvalsh(z.T @ z), 0, None))
    p = sigma / sigma.sum() + epsilon
    return math.exp(-sum(float(q) * math.log(q) for q in p if q > 0))


@settings(max_examples=30, deadline=None)
@given(SHAPES)
def test_the_ranks_are_those_of_the_formula(shape: tuple[int, int, int]):
    z = features(shape[0], shape[1] + 12, shape[2])  # more samples than features
    assert float(rankme(z)) == pytest.approx(rankme_by_hand(z.numpy(), 1e-7), rel=1e-6)
    assert float(effective_rank(z)) == pytest.approx(rankme_by_hand(z.numpy(), 0.0), rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_orthonormal_features_have_full_rank(k: int):
    q = torch.linalg.qr(features(0, 20, k))[0]
    assert float(effective_rank(q)) == pytest.approx(k)
    assert float(rankme(q)) == pytest.approx(k, rel=1e-4)


def test_a_product_of_two_vectors_has_rank_one():
    z = features(1, 30, 1) @ features(2, 1, 8)
    assert float(effective_rank(z)) == pytest.approx(1)
    # Each of the eight directions has at least the epsilon: 1 + 8 eps (1 - log eps) at most.
    assert 1 < float(rankme(z)) < 1 + 8e-7 * (1 - math.log(1e-7))


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.floats(1e-3, 1e3))
def test_the_ranks_know_no_scale_no_rotation_and_no_order(
    shape: tuple[int, int, int], scale: float
):
    z = features(*shape)
    turned = z @ torch.linalg.qr(features(shape[0] + 1, shape[2], shape[2]))[0]
    for rank in (effective_rank, rankme):
        value = float(rank(z))
        assert 1 - 1e-6 <= value <= min(z.shape) * (1 + 1e-4)
        for other in (z * scale, turned, z.flip(0)):
            assert float(rank(other)) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("z", [torch.zeros(4, 3), torch.full((4, 3), torch.nan), torch.empty(0, 0)])
def test_the_rank_of_nothing_is_undefined(z: Tensor):
    assert math.isnan(float(effective_rank(z)))
    assert math.isnan(float(rankme(z)))


# --- units and weights ---------------------------------------------------------------------------


def test_a_unit_is_alive_if_one_sample_activates_it():
    hidden = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    assert active_units(hidden).tolist() == [False, True, True]
    assert dead_units([active_units(hidden)]) == pytest.approx(1 / 3)
    assert dead_units([active_units(hidden), torch.zeros(3, dtype=torch.bool)]) == pytest.approx(
        4 / 6
    )
    assert math.isnan(dead_units([]))


def test_of_a_convolution_a_unit_is_a_channel():
    maps = torch.zeros(2, 4, 3, 3)
    maps[1, 2, 0, 1] = 0.5
    assert active_units(maps).tolist() == [False, False, True, False]


def test_dead_units_are_found_where_they_are_made(monkeypatch: pytest.MonkeyPatch):
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        for layer, dead, bias in ((network[0], 3, 1e3), (network[2], 1, 1e5)):
            layer.bias.fill_(bias)  # alive on every input: weights are below 1
            layer.bias[:dead] = -1e9
    monkeypatch.setattr(diagnostics, "BATCH_SIZE", 7)
    x = features(0, 30, 5).float()
    seen, active = observe(network, x)
    assert [dead_units([layer]) for layer in active] == [3 / 8, 1 / 4]
    assert torch.equal(seen, network[:4](x))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_activity_in_any_batch_of_the_probe_counts(monkeypatch: pytest.MonkeyPatch):
    network = nn.Sequential(nn.Identity(), nn.ReLU())
    x = torch.cat([torch.eye(4), torch.zeros(4, 4)])
    for size in (1, 3, 8):
        monkeypatch.setattr(diagnostics, "BATCH_SIZE", size)
        seen, active = observe(network, x)
        assert active[0].all()
        assert seen.numel() == 0  # no linear layer


def test_the_weight_norm_is_over_all_parameters_together():
    found = weight_norm([torch.tensor([[3.0, -4.0]]), torch.tensor([12.0])])
    assert found == {"weight_norm": 13.0, "weight_magnitude": pytest.approx(19 / 3)}


# --- plasticity ----------------------------------------------------------------------------------

WIDE = ("model=mlp", "model.hidden=[16,16]")


def scaled(strategy: Any, factor: float) -> Any:
    with torch.no_grad():
        strategy.weights.mul_(factor)
    return strategy


def test_a_new_network_is_as_plastic_as_itself():
    r = run("strategy=naive", *SCOLE, *WIDE)
    assert probe_of(r).measure()["plasticity"] == 0.0


def test_saturated_and_dead_networks_are_less_plastic():
    r = run("strategy=naive", *SCOLE, *WIDE)
    blown_up = probe_of(r, scaled(r.strategy(), 30.0)).measure()
    assert blown_up["plasticity"] < -0.05
    dead: Any = r.strategy()
    with torch.no_grad():
        for layer in dead.model:
            if isinstance(layer, nn.Linear) and layer.out_features == 16:
                layer.bias.fill_(-1e3)
    found = probe_of(r, dead).measure()
    assert found["dead_units"] == 1
    assert found["plasticity"] < -0.01  # only the output's biases can learn
    assert math.isnan(found["rankme"])


def test_refitting_takes_the_steps_it_is_given():
    """Adam's first step is the learning rate, whatever the gradient."""
    network = nn.Linear(3, 2)
    before = [p.clone() for p in network.parameters()]
    x, y = features(0, 10, 3).float(), torch.arange(10) % 2
    loss = refit(network, x, y, [torch.arange(10)])
    for p, old in zip(network.parameters(), before, strict=True):
        assert (p - old).abs().max().item() == pytest.approx(diagnostics.FIT_LR, rel=1e-3)
    assert loss == pytest.approx(nn.functional.cross_entropy(network(x), y).item())
