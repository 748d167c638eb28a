"""Masks: against softmaxes over fewer classes and gradients written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clbench.nets.losses import mask_scores, present

LABELS = st.lists(st.integers(-1, 5), min_size=1, max_size=9).map(torch.tensor)


def scores_of(y: Tensor) -> Tensor:
    at = torch.arange(len(y) * 6, dtype=torch.float64)
    return (3 * torch.sin(at * 1.7)).reshape(len(y), 6).requires_grad_()


def gradient(kind: str, z: Tensor, y: Tensor) -> Tensor:
    masked = mask_scores(kind, z, y, present(y, 6))  # type: ignore[arg-type]
    loss = F.cross_entropy(masked, y, ignore_index=-1, reduction="sum")
    return torch.autograd.grad(loss, z)[0]


@settings(deadline=None)
@given(LABELS)
def test_present_is_the_set_of_labels(y: Tensor):
    assert present(y, 6).nonzero().squeeze(1).tolist() == sorted(set(y.tolist()) - {-1})


@settings(deadline=None)
@given(LABELS)
def test_group_is_the_cross_entropy_over_the_classes_of_the_batch(y: Tensor):
    z, there = scores_of(y), present(y, 6)
    found = gradient("group", z, y)
    assert (found[:, ~there] == 0).all()
    assert (found[y == -1] == 0).all()
    if not there.any():
        return
    inside = z[:, there]
    relabelled = torch.where(y == -1, -1, there.cumsum(0)[y] - 1)
    loss = F.cross_entropy(inside, relabelled, ignore_index=-1, reduction="sum")
    torch.testing.assert_close(found, torch.autograd.grad(loss, z)[0])


@settings(deadline=None)
@given(LABELS)
def test_group_gives_what_scole_fills_in_gives(y: Tensor):
    z, there = scores_of(y), present(y, 6)
    labelled = y >= 0
    if not there.any():
        return
    theirs = F.cross_entropy(z.masked_fill(~there, -1e9)[labelled], y[labelled], reduction="sum")
    torch.testing.assert_close(gradient("group", z, y), torch.autograd.grad(theirs, z)[0])


@settings(deadline=None)
@given(LABELS)
def test_group_zero_leaves_absent_classes_in_the_denominator(y: Tensor):
    z, there = scores_of(y), present(y, 6).double()
    e = z.detach().exp()
    inside = e * there
    p = inside / (inside.sum(1, keepdim=True) + (6 - there.sum()))
    wanted = (p - F.one_hot(y.clamp_min(0), 6)) * there * (y >= 0)[:, None]
    torch.testing.assert_close(gradient("group_zero", z, y), wanted)


@settings(deadline=None)
@given(LABELS)
def test_single_moves_the_samples_own_score_alone(y: Tensor):
    z = scores_of(y)
    own = z.detach().gather(1, y.clamp_min(0)[:, None]).squeeze(1).exp()
    slope = own / (own + 5) - 1
    wanted = F.one_hot(y.clamp_min(0), 6) * (slope * (y >= 0))[:, None]
    torch.testing.assert_close(gradient("single", z, y), wanted)


@pytest.mark.parametrize("kind", ["none", "group", "group_zero"])
def test_where_nothing_is_labelled_nothing_is_masked(kind: str):
    z = scores_of(torch.arange(3))
    nothing = torch.full((3,), -1)
    assert torch.equal(mask_scores(kind, z, nothing, present(nothing, 6)), z)  # type: ignore[arg-type]
