"""Weights that a network starts from: names, shapes and kinds fit, or nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets import parameters, weights


def net(n_classes: int = 3, width: int = 4) -> nn.Module:
    torch.manual_seed(n_classes)
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, n_classes)
    )


def trained(path: Path, **changes: Tensor | None) -> dict[str, Tensor]:
    """Write weights like no fresh ones, with changes by name (None: left out)."""
    state = {
        name: t + 1 if t.is_floating_point() else t + 5 for name, t in net().state_dict().items()
    }
    state |= {name: t for name, t in changes.items() if t is not None}
    state = {
        name: t for name, t in state.items() if name not in changes or changes[name] is not None
    }
    weights.save(path, state, {"architecture": "net"})
    return state


def test_parameters_and_buffers_start_from_the_file(tmp_path: Path):
    state = trained(tmp_path / "w.safetensors")
    model = net()
    weights.initialise(model, tmp_path / "w.safetensors")
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())


def test_buffers_may_be_missing(tmp_path: Path):
    gone = {f"1.{name}": None for name in ("running_mean", "running_var", "num_batches_tracked")}
    state = trained(tmp_path / "w.safetensors", **gone)
    model = net()
    weights.initialise(model, tmp_path / "w.safetensors")
    assert (model.state_dict()["1.running_mean"] == 0).all()
    assert all(torch.equal(p, state[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"3.weight": None, "3.bias": None},
        {"3.bias": None},
        {"3.weight": torch.zeros(7, 4), "3.bias": torch.zeros(7)},
    ],
)
def test_an_output_layer_of_other_classes_stays_fresh(
    tmp_path: Path, changes: dict[str, Tensor | None]
):
    state = trained(tmp_path / "w.safetensors", **changes)
    model = net(5)
    fresh = {name: p.clone() for name, p in model.named_parameters()}
    weights.initialise(model, tmp_path / "w.safetensors")
    for name, p in model.named_parameters():
        assert torch.equal(p, fresh[name] if name.startswith("3.") else state[name]), name
    with pytest.raises(UsageError, match=r"3\.(weight|bias)"):
        weights.initialise(net(5), tmp_path / "w.safetensors", free_output=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"0.weight": None}, "lacks tensor '0.weight'"),
        ({"head.weight": torch.zeros(3, 4)}, "'head.weight' is no part of the model"),
        ({"0.bias": torch.zeros(5)}, r"'0.bias' has shape \(5,\)"),
        ({"3.weight": torch.zeros(3, 6)}, r"'3.weight' has shape \(3, 6\)"),
        ({"0.bias": torch.zeros(4, dtype=torch.int64)}, "'0.bias' is torch.int64"),
        ({"1.running_var": torch.zeros(3)}, "'1.running_var' has shape"),
        ({"0.bias": torch.full((4,), 1e300, dtype=torch.float64)}, "'0.bias' is too large"),
    ],
)
def test_nothing_is_half_loaded(tmp_path: Path, changes: dict[str, Tensor], message: str):
    trained(tmp_path / "w.safetensors", **changes)
    model = net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(UsageError, match=message):
        weights.initialise(model, tmp_path / "w.safetensors")
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_the_same_weights_are_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        trained(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@given(st.integers(2, 6), st.integers(1, 5))
def test_output_is_the_last_linear_layer(n_classes: int, width: int):
    model = net(n_classes, width)
    assert parameters.matching(model, "output", "x") == {"3.weight", "3.bias"}
    assert parameters.matching(model, "none", "x") == frozenset()
    assert parameters.matching(model, "output 0.*", "x") == {
        "0.weight",
        "0.bias",
        "3.weight",
        "3.bias",
    }


def test_the_network_may_be_one_layer():
    assert parameters.output_parameters(nn.Linear(2, 2)) == ("weight", "bias")
    assert parameters.output_parameters(nn.Linear(2, 2, bias=False)) == ("weight",)


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (net, "hed.*", "no parameter has such a name"),
        (net, "output hed.*", "'hed.\\*'"),
        (lambda: nn.Conv2d(1, 2, 3), "output", "has no nn.Linear"),
    ],
)
def test_words_that_match_nothing(make: Callable[[], nn.Module], words: str, message: str):
    with pytest.raises(UsageError, match=message):
        parameters.matching(make(), words, "strategy.fisher_exclude")


def test_a_config_that_forgets_the_hash_is_refused():
    """Its runs would not be told apart by what is in the file."""
    with pytest.raises(UsageError, match=r"super\(\).__post_init__"):
        weights.initialised(net, Path("w.safetensors"), None)
