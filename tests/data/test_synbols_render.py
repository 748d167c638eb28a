"""What is drawn: the same bytes in any batch, against a supersampled reference and exact strokes."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from synbols_parts import CPU, few, fonts_folder, generator, shared_cache

from clbench.data.synbols import patterns, render, textures
from clbench.data.synbols.distributions import Choice, Uniform, constant
from clbench.data.synbols.patterns import PATTERNS, Camouflage, Gradient, Natural, Solid, paint
from clbench.data.synbols.spec import PRESETS, Spec

SMALL_BANK = 4
__all__ = ["shared_cache"]


@pytest.fixture(autouse=True, scope="module")
def small_banks():
    """Banks a sixteenth of the size, and the cache they go to kept for this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textures, "BANK_SIDE", SMALL_BANK)
        yield


EVERYTHING = few(
    Spec(
        foreground=Choice(("gradient", "solid", "camouflage", "multi_gradient", "natural")),
        background=Choice(("gradient", "black", "natural", "linear", "camouflage_level")),
        max_contrast=Choice((True, False)),
        pixel_noise_scale=Choice((0.0, 0.1)),
        scale=Uniform(0.05, 1.2),
        n_symbols=Choice((0, 1, 2)),
        n_occlusions=Choice((0, 1)),
        resolution=16,
    )
)


@pytest.mark.parametrize("gray", [False, True])
def test_the_same_bytes_in_any_batch_size_and_order(gray: bool):
    g = generator(dataclasses.replace(EVERYTHING, is_gray=gray))
    n = 150
    whole = g.images(np.arange(n))
    assert whole.shape == ((n, 16, 16) if gray else (n, 3, 16, 16))
    assert whole.dtype == torch.uint8
    for size in (1, 7, 64):
        parts = [g.images(np.arange(i, min(i + size, n))) for i in range(0, n, size)]
        assert torch.equal(torch.cat(parts), whole)
    order = np.random.default_rng(0).permutation(n)
    assert torch.equal(g.images(order), whole[order])
    assert len(whole.flatten(1).unique(dim=0)) > 0.95 * n  # a few are bare and black


def test_seeds_give_other_images():
    one, two = (generator(EVERYTHING, seed).images(np.arange(20)) for seed in (0, 1))
    assert (one != two).flatten(1).any(1).all()


def test_more_images_than_a_batch_holds_take_no_more_memory_in_floats(monkeypatch):
    g = generator(EVERYTHING)
    seen = []
    real = render.Renderer._finish

    def spy(self, part):
        finished = real(self, part)

        def watched(image, rows):
            seen.append(len(image))
            return finished(image, rows)

        return watched

    monkeypatch.setattr(render.Renderer, "_finish", spy)
    monkeypatch.setattr(render, "BATCH_PIXELS", 10 * 16**2)
    assert g.renderer.batch == 10
    g.images(np.arange(21))
    assert seen == [10, 10, 1]


@pytest.mark.parametrize("side", [20, 32, 64])
def test_boxes_hold_all_that_is_seen_of_a_shape(side: int, monkeypatch):
    spec = dataclasses.replace(
        EVERYTHING, scale=Uniform(0.05, 2), rotation=Uniform(0, 7), resolution=side
    )
    g = generator(spec)
    a = g.attributes(np.arange(60))
    boxed = g.renderer.masks(a)
    real = render.place

    def whole(*arguments):
        placed = real(*arguments)
        size = np.full_like(placed.size, (-(-side // render.CELL), side))
        return dataclasses.replace(placed, corner=np.zeros_like(size), size=size)

    monkeypatch.setattr(render, "place", whole)
    assert torch.equal(g.renderer.masks(a), boxed)
    assert boxed.any()


def inked(char, path, size):  # type: ignore[no-untyped-def]
    """A glyph's ink, bool, nothing around it."""
    canvas = Image.new("L", (4 * size, 4 * size))
    font = ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    ImageDraw.Draw(canvas).text((size, size), char, fill=255, font=font)
    ink = np.asarray(canvas) >= 128
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@cache
def centred(char: str) -> np.ndarray:
    """Its ink in the middle of a square that its longer side, about 768, fills."""
    path, large = fonts_folder() / "DejaVuSans.ttf", 768
    ink = inked(char, path, round(large * large / max(inked(char, path, large).shape)))
    missing = [max(ink.shape) - n for n in ink.shape]
    return np.pad(ink, [(n // 2, n - n // 2) for n in missing])


def reference(g, a, i, times=8):  # type: ignore[no-untyped-def]
    """``(side, side)`` coverage by 8x8 samples a pixel of a glyph drawn 768 texels large."""
    side = g.spec.resolution
    char = g.atlas.characters[a.char[i, 0]]
    ink = centred(char)
    large = len(ink)
    turn, scale = a.rotation[i, 0], a.scale[i, 0]
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if a.is_slant[i, 0]:
        matrix = np.array([[1, 0], [0.2, 1]]) @ matrix
    rows, columns = np.nonzero(ink)
    points = matrix @ ((np.stack((columns, rows)) + 0.5) / large - 0.5)
    low, high = points.min(1), points.max(1)
    to = (np.array([a.x_translation[i, 0], -a.y_translation[i, 0]]) + 1) / 2
    shift = to * (1 - (high - low)) - low
    steps = (np.arange(side * times) + 0.5) / (side * times)
    p = np.stack(np.meshgrid(steps, steps)).reshape(2, -1) - shift[:, None]
    texel = np.floor((np.linalg.inv(matrix) @ p + 0.5) * large).astype(int)
    inside = ((texel >= 0) & (texel < large)).all(0)
    texel = texel.clip(0, large - 1)
    samples = (ink[texel[1], texel[0]] & inside).reshape(side, times, side, times)
    return samples.mean((1, 3))


@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_edges_are_antialiased_at_any_scale_and_rotation(resolution: int):
    spec = Spec(
        scale=Uniform(0.2, 1.0),
        rotation=Uniform(0, 2 * math.pi),
        is_bold=constant(False),
        resolution=resolution,
    )
    g = generator(few(spec), fonts="DejaVu Sans")
    a = g.attributes(np.arange(30))
    got = g.renderer.masks(a)[:, 0].numpy() / 255
    want = np.stack([reference(g, a, i) for i in range(len(a))])
    ink = want.mean((1, 2))
    assert np.abs(got.mean((1, 2)) / ink - 1).max() < 0.06  # nothing is lost between samples
    error = np.abs(got - want)
    assert error.mean() < 0.006
    assert np.sqrt((error**2).mean()) < 0.03
    edge = (want > 0) & (want < 1)
    assert error[edge].mean() < 0.06
    # One sample a pixel from the same reference, aliased, is several times worse.
    aliased = np.stack([reference(g, a, i, times=1) for i in range(len(a))])
    assert np.abs(aliased - want)[edge].mean() > 3 * error[edge].mean()


def test_scale_and_translation_put_the_symbol_where_they_say():
    for to in (-1.0, 0.0, 1.0):
        spec = Spec(
            scale=constant(0.5),
            x_translation=constant(to),
            y_translation=constant(to),
            rotation=Choice((0.0, 0.7)),
            resolution=64,
        )
        g = generator(few(spec))
        a = g.attributes(np.arange(40))
        seen = g.renderer.masks(a)[:, 0].numpy() > 127
        for i, mask in enumerate(seen):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            ends = (columns[0], 63 - columns[-1]), (63 - rows[-1], rows[0])
            for before, after in ends:  # left and right, below and above
                if to == 0:
                    assert abs(before - after) <= 1
                else:
                    assert (before if to < 0 else after) <= 1
            if a.rotation[i, 0] == 0 and not a.is_slant[i, 0]:
                longest = max(np.ptp(rows), np.ptp(columns)) + 1
                assert abs(longest - 32) <= 1


def test_slant_is_a_shear_that_moves_points_down_by_a_fifth_of_x():
    still = few(
        Spec(
            scale=constant(0.5),
            rotation=constant(0.0),
            x_translation=constant(0.0),
            y_translation=constant(0.0),
            is_bold=constant(False),
            resolution=64,
        )
    )
    upright = generator(dataclasses.replace(still, is_slant=constant(False)))
    slanted = generator(dataclasses.replace(still, is_slant=constant(True)))
    numbers = np.arange(10)
    one = upright.renderer.masks(upright.attributes(numbers))[:, 0].double()
    two = slanted.renderer.masks(slanted.attributes(numbers))[:, 0].double()
    torch.testing.assert_close(two.sum((1, 2)), one.sum((1, 2)), rtol=0.02, atol=0)
    torch.testing.assert_close(two.sum(1), one.sum(1), rtol=0.05, atol=255.0)  # columns keep ink
    assert (one != two).any()


def test_masks_and_images_agree():
    spec = dataclasses.replace(
        few(PRESETS["counting"]),
        foreground=constant("white"),
        background=constant("black"),
        inverse_color=constant(False),
        pixel_noise_scale=constant(0.0),
        max_contrast=constant(False),
    )
    g = generator(dataclasses.replace(spec, resolution=64))
    a = g.attributes(np.arange(12))
    masks = g.renderer.masks(a).float() / 255
    assert masks.shape == (12, 9, 64, 64)
    assert ((masks.amax((2, 3)) > 0) == torch.as_tensor(a.shown)).all()
    over = 1 - (1 - masks).prod(1)
    image = g.renderer.images(a).float() / 255
    assert (image - over[:, None]).abs().max() < 0.02


def test_inversion_and_contrast():
    spec = dataclasses.replace(
        few(PRESETS["default"]), pixel_noise_scale=constant(0.0), max_contrast=constant(True)
    )
    one, two = (
        generator(dataclasses.replace(spec, inverse_color=constant(v))).images(np.arange(30))
        for v in (False, True)
    )
    assert (one.flatten(1).amin(1) <= 1).all()  # 8 bits are cut, not rounded
    assert (one.flatten(1).amax(1) >= 254).all()
    assert (one.int() + two.int() - 255).abs().max() <= 1
    flat = dataclasses.replace(
        spec, n_symbols=constant(0), background=constant("white"), inverse_color=constant(False)
    )
    assert (generator(flat).images(np.arange(3)) == 255).all()  # nothing to stretch


def test_pixel_noise_is_gaussian_with_the_stated_deviation():
    from scipy import stats

    spec = dataclasses.replace(
        few(PRESETS["default"]),
        n_symbols=constant(0),
        foreground=constant("white"),
        background=constant("solid"),
        max_contrast=constant(False),
        pixel_noise_scale=constant(0.02),
        inverse_color=constant(False),
    )
    g = generator(spec)
    noise = g.renderer._noise(g.attributes(np.arange(40)))(slice(0, 40))
    standard = (noise / (255 * 0.02)).flatten().double().numpy()
    assert stats.kstest(standard, "norm").pvalue > 1e-4
    rows = noise.flatten(1).double().numpy()
    assert (np.abs(np.corrcoef(rows)) - np.eye(40)).max() < 5 / math.sqrt(3072)
    assert np.abs(np.corrcoef(rows.T[:100]) - np.eye(100)).max() < 0.75  # pixels neither


def test_a_radial_gradient_solves_its_circles():
    rng = np.random.default_rng(0)
    start, end = rng.random((20, 2)), rng.random((20, 2))
    x = (torch.arange(16) + 0.5) / 16
    t = patterns._radial(start, end, x, x[:, None])(slice(0, 20)).double().numpy()
    for i in range(20):
        centre = start[i][:, None, None] + t[i] * (end[i] - start[i])[:, None, None]
        radius = 2 - 1.9 * t[i]
        px, py = np.meshgrid(x, x)
        assert np.abs(np.hypot(px - centre[0], py - centre[1]) - radius).max() < 1e-4
        assert radius.min() > -1e-4


def test_gradients_and_colours():
    seeds, every = np.arange(400, dtype=np.uint64), slice(0, 400)
    for kind in (Gradient(), Gradient(("linear",)), Gradient(("radial",))):
        image = paint(kind, seeds, 16, CPU)(every)
        assert image.shape == (400, 3, 16, 16)
        assert image.min() >= 0
        assert image.max() <= 1
        assert abs(image.mean().item() - 0.5) < 0.03
    linear = paint(Gradient(("linear",)), seeds, 16, CPU)(every)
    assert linear.diff(dim=2).diff(dim=2).abs().median() < 1e-5  # straight but for the stops
    multi = paint(Gradient(layers=2, alpha=0.5), seeds, 16, CPU)(every)
    assert abs(multi.mean().item() - 0.5 * 0.75) < 0.03  # a quarter of the black shows through
    solid = paint(Solid(), seeds, 16, CPU)(every)
    assert solid.shape == (400, 3, 1, 1)
    assert abs(solid.var().item() - 1 / 12) < 0.01
    stated = paint(Solid((1, 0, 0.5)), seeds, 16, CPU)(slice(5, 6))
    assert (stated.flatten() == torch.tensor([1, 0, 0.5])).all()


def correlation(x: torch.Tensor, dim: int, lag: int) -> float:
    centred = x - x.mean((2, 3), keepdim=True)
    length = x.shape[dim] - lag
    product = centred.narrow(dim, 0, length) * centred.narrow(dim, lag, length)
    return float(product.mean() / centred.square().mean())


@pytest.mark.parametrize("name", ["camouflage", "camouflage_level", "camouflage_upright"])
def test_crops_of_a_bank_have_the_statistics_of_exact_strokes(name: str):
    pattern = PATTERNS[name]
    assert isinstance(pattern, Camouflage)
    exact = np.stack([textures.exact(pattern, seed, 32) for seed in range(40)])
    want = torch.as_tensor(exact).permute(0, 3, 1, 2).float() / 255
    bank = textures.bank(pattern, 32)
    assert bank.shape == (32 * SMALL_BANK, 32 * SMALL_BANK, 3)
    seeds = np.arange(400, dtype=np.uint64)
    got = textures.crops(textures.planes(bank, CPU), seeds, 32)(slice(0, 400))
    assert abs(float(want.mean()) - 0.5) < 0.02
    assert abs(float(got.mean()) - float(want.mean())) < 0.02
    assert abs(float(got.std() / want.std()) - 1) < 0.05
    for dim in (2, 3):
        for lag in (1, 2, 4):
            assert abs(correlation(got, dim, lag) - correlation(want, dim, lag)) < 0.08
    along, across = (3, 2) if name == "camouflage_level" else (2, 3)
    if name != "camouflage":
        assert correlation(got, along, 4) > 0.5 > correlation(got, across, 4)
    assert (got == 0).all(1).float().mean() < 1e-3  # hardly a pixel is bare


def test_crops_are_pieces_of_the_bank_with_channels_permuted_and_some_turned():
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    bank = torch.stack((rows, 64 + columns, torch.full_like(rows, 200)), -1).to(torch.uint8)
    seeds = np.arange(200, dtype=np.uint64)
    crops = textures.crops(textures.planes(bank.numpy(), CPU), seeds, 8)(slice(0, 200)) * 255
    found = set()
    for crop in crops.round().int():
        order = crop.amin((1, 2)).argsort()  # rows, columns, constant
        turned = bool(crop[order[0], 0, 0] > crop[order[0], -1, 0])
        piece = (crop.flip(1, 2) if turned else crop)[order].permute(1, 2, 0)
        top, left = int(piece[0, 0, 0]), int(piece[0, 0, 1]) - 64
        assert torch.equal(piece, bank[top : top + 8, left : left + 8].int())
        found.add((turned, tuple(order.tolist())))
    assert len(found) == 12


def test_natural_crops_are_of_the_stated_size():
    ramp = np.zeros((64, 128, 3), dtype=np.uint8)
    ramp[..., 0] = np.arange(128)
    ramp[..., 1] = np.arange(64)[:, None]
    photographs = textures.Photographs.of([ramp], CPU)
    crops = photographs.crop(Natural(0.25), np.arange(500, dtype=np.uint64), 8) * 255
    width = (crops[:, 0, :, -1] - crops[:, 0, :, 0]) * 8 / 7 / 128
    height = (crops[:, 1, -1] - crops[:, 1, 0]) * 8 / 7 / 64
    for share in (width, height):
        assert share.min() > 0.22
        assert share.max() < 1.01
        assert share.max() > 0.8
    assert crops[:, 2].abs().max() == 0
    bright = textures.Photographs.of(textures.photographs(None), CPU)
    images = bright.crop(Natural(), np.arange(50, dtype=np.uint64), 32)
    assert images.shape == (50, 3, 32, 32)
    assert len(images.flatten(1).unique(dim=0)) == 50
