"""Marks: closed forms, values that differ, images that stay images."""

from __future__ import annotations

import colorsys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clbench.data.marks import KINDS, mark
from clbench.data.transforms import Mark
from clbench.errors import UsageError

SHAPES = [(28, 28), (1, 9, 9), (3, 16, 12)]
NONE = torch.Generator()


def images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_common_contract(kind: str, shape: tuple[int, ...], dtype: torch.dtype):
    x = (255 * images(4, *shape)).to(dtype)
    before, transform = x.clone(), Mark(kind, 3, 0.5, 1 / 255)
    transform.check(shape)
    shown = [transform(x, a, NONE) for a in range(3)]
    assert torch.equal(x, before)
    for a, out in enumerate(shown):
        assert out.shape == x.shape
        assert out.dtype == dtype
        assert not torch.equal(out, x)
        assert all(not torch.equal(out, other) for other in shown[:a])
        with torch.device("meta"):
            assert torch.equal(transform(x, a, NONE), out)
    assert len({transform.describe(a) for a in range(3)}) == 3
    assert transform.describe(0) != Mark(kind, 3, 0.4, 1 / 255).describe(0)
    assert transform.describe(0) != Mark(kind, 4, 0.5, 1 / 255).describe(0)
    for a in (-1, 3):
        with pytest.raises(ValueError, match="domain"):
            transform.describe(a)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(
    value=st.integers(0, 6),
    strength=st.floats(0.01, 0.99),
    channels=st.sampled_from([1, 2, 3]),
    height=st.integers(2, 20),
    width=st.integers(2, 20),
)
def test_a_mark_is_a_mix_of_image_and_pattern(
    kind: str, value: int, strength: float, channels: int, height: int, width: int
):
    """What is left of the difference of two images is 1 - strength of it, or all; in [0, 1]."""
    x = images(2, channels, height, width)
    out = mark(kind, x, value, 7, strength)
    assert out.shape == x.shape
    assert out.min() >= 0
    assert out.max() <= 1
    left, difference = out[0] - out[1], x[0] - x[1]
    mixed = (left - (1 - strength) * difference).abs() < 1e-5
    whole = (left - difference).abs() < 1e-5
    assert (mixed | whole).all()
    assert kind == "patch" or mixed.all()


def test_background_goes_from_black_to_white_and_through_the_hues():
    gray, rgb = torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4)
    tones = [float(mark("background", gray, a, 5, 0.5).unique()) for a in range(5)]
    assert tones == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    for a in range(5):
        found = mark("background", rgb, a, 5, 0.5)[0, :, 2, 2]
        assert found.tolist() == pytest.approx([v / 2 for v in colorsys.hsv_to_rgb(a / 5, 1, 1)])


def test_stripes_are_waves_at_evenly_spread_angles():
    """The transform's only peak is at the wave's own number of periods."""
    upright = mark("stripes", torch.zeros(1, 1, 16, 16), 0, 2, 0.5)[0, 0]
    lying = mark("stripes", torch.zeros(1, 1, 16, 16), 1, 2, 0.5)[0, 0]
    assert torch.allclose(upright, lying.T, atol=1e-6)
    assert torch.allclose(upright, upright[:1].expand(16, 16))
    spectrum = torch.fft.rfft(upright[0] - upright[0].mean()).abs()
    assert spectrum.argmax() == 2
    assert spectrum.sum() == pytest.approx(float(spectrum[2]), abs=1e-4)
    x = torch.zeros(1, 1, 28, 28)
    seen = torch.cat([mark("stripes", x, a, 10, 0.5).flatten(1) for a in range(10)])
    assert torch.pdist(seen).min() > 2


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (5, 9), (12, 4)])
@pytest.mark.parametrize("n", [2, 4, 7, 10])
def test_patches_are_squares_at_places_of_their_own_on_the_border(shape: tuple[int, int], n: int):
    side = min(shape) // 4
    places = set()
    for a in range(n):
        rows, columns = mark("patch", torch.zeros(1, 1, *shape), a, n, 0.5)[0, 0].nonzero().T
        assert len(rows) == side * side
        top, bottom, left, right = (int(v) for v in (*rows.aminmax(), *columns.aminmax()))
        assert (bottom - top, right - left) == (side - 1, side - 1)
        assert 0 in (top, left, shape[0] - 1 - bottom, shape[1] - 1 - right)
        places.add((top, left))
    assert len(places) == n


def test_unknown_marks_and_vectors_are_refused():
    with pytest.raises(UsageError, match="mark 'glitter' is unknown"):
        Mark("glitter", 2, 0.5, 1.0)
    with pytest.raises(UsageError, match="images"):
        Mark("patch", 2, 0.5, 1.0).check((16,))
