"""Arrays of every shape train with the model that they recommend; series are told from images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import go

import clbench
from clbench.data.sets.npz import Npz
from clbench.data.shapes import suited_model
from clbench.errors import UsageError


def save(path: Path, shape: tuple[int, ...], dtype: type = np.uint8) -> Path:
    """Two classes that differ in their level."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    x = rng.integers(0, 120, (24, *shape)) + 120 * y.reshape(-1, *[1] * len(shape))
    np.savez(path, train_x=x.astype(dtype), train_y=y, test_x=x[:8].astype(dtype), test_y=y[:8])
    return path


@pytest.mark.parametrize(
    ("shape", "model", "inside"),
    [
        ((7,), "mlp", (7,)),
        ((3, 40), "conv1d", (3, 40)),
        ((1, 30), "conv1d", (1, 30)),
        ((16, 20), "scole_cnn", (16, 20)),
        ((6, 9), "mlp", (6, 9)),
        ((3, 8, 8), "slim_resnet18", (3, 8, 8)),
        ((8, 8, 3), "slim_resnet18", (3, 8, 8)),
        ((1, 16, 16), "scole_cnn", (1, 16, 16)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("normalize", ["none", "data"])
def test_every_npz_trains_with_its_default_model(
    tmp_path: Path,
    shape: tuple[int, ...],
    model: str,
    inside: tuple[int, ...],
    dtype: type,
    normalize: str,
):
    path = save(tmp_path / "d.npz", shape, dtype)
    words = ("scenario=class_incremental", "scenario.n_tasks=1", "strategy=naive", "data=npz")
    r = clbench.prepare(*words, f"data.path={path}", "device=cpu", f"data.normalize={normalize}")
    assert r.config.plugins["model"].name == model
    assert r.info().input_shape == inside
    _, outcome = go(r)
    assert (outcome.status, outcome.error) == ("completed", None)
    if normalize == "data":
        assert r.moments is not None
        features = {1: shape[0], 2: shape[0] if model == "conv1d" else 1, 3: inside[0]}
        assert len(r.moments.mean) == features[len(shape)]


def test_the_user_says_what_the_axes_are(tmp_path: Path):
    long, square = save(tmp_path / "long.npz", (3, 40)), save(tmp_path / "square.npz", (20, 20))
    flat = save(tmp_path / "flat.npz", (40,))
    auto = Npz(path=long)
    [note] = auto.arrays().notes
    assert "read as series of 3 channels" in note
    for path in (long, square, flat):
        series = Npz(path=path, layout="series")
        assert (series.default_model(), series.holds_series()) == ("conv1d", True)
        assert series.arrays().notes == ()
    image = Npz(path=long, layout="channels_first")
    assert (image.default_model(), image.holds_series()) == ("mlp", False)
    assert not Npz(path=square).holds_series()
    assert Npz(path=flat).default_model() == "mlp"
    colour = save(tmp_path / "colour.npz", (3, 8, 8))
    with pytest.raises(UsageError, match=r"layout=series.*it needs \(T,\) or \(C, T\)"):
        Npz(path=colour, layout="series").arrays()


def test_a_sample_is_a_series_from_eight_times_as_long_as_high_on():
    assert suited_model((2, 16)) == "conv1d"
    assert suited_model((2, 15)) == "mlp"
    assert suited_model((16, 2)) == "mlp"
    assert suited_model((16, 127)) == "scole_cnn"
