"""Augmentations against torchvision's functions where it is installed, and against loops of numpy."""

from __future__ import annotations

import colorsys
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import go, pool, run
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from clbench.data import augmentations as change
from clbench.data.augment import (
    OF_TORCHVISION,
    OPERATIONS,
    augment,
    check_augment,
    operations,
    rectangles,
    views,
)
from clbench.errors import UsageError

N = 8
OURS = [name for name in OPERATIONS if name not in OF_TORCHVISION]


def images(shape: tuple[int, ...] = (3, 12, 16), n: int = N, low: int = 0) -> Tensor:
    pixels = torch.Generator().manual_seed(4)
    return torch.randint(low, 256, (n, *shape), generator=pixels, dtype=torch.uint8)


def some(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, N)


def functional() -> Any:
    return pytest.importorskip("torchvision.transforms.v2.functional")


# --- each operation with given numbers -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "theirs", "values"),
    [
        ("brightness", "adjust_brightness", some(0, 2)),
        ("contrast", "adjust_contrast", some(0, 2)),
        ("saturation", "adjust_saturation", some(0, 2)),
        ("hue", "adjust_hue", some(-0.5, 0.5)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_those_of_torchvision(name: str, theirs: str, values: Tensor, channels: int):
    f = getattr(functional(), theirs)
    if channels == 1 and name in ("saturation", "hue"):
        pytest.skip("gray images have neither")
    x = images((channels, 12, 16))
    wanted = torch.stack([f(image, float(v)) for image, v in zip(x, values, strict=True)])
    ours = getattr(change, name)(x, values)
    assert ours.dtype == torch.uint8
    assert int((ours.int() - wanted.int()).abs().max()) <= 1  # float32 sums in another order
    assert float((ours == wanted).float().mean()) > 0.99


def test_gray_is_that_of_torchvision():
    x, which = images(), torch.arange(N) % 2 == 0
    ours = change.grayscale(x, which)
    wanted = functional().rgb_to_grayscale(x, num_output_channels=3)
    assert torch.equal(ours[which], wanted[which])
    assert torch.equal(ours[~which], x[~which])


def test_brightness_contrast_and_saturation_by_numpy():
    x, factor = images(), some(0.2, 1.8)
    raw = x.numpy().astype(np.float64)
    gray = np.floor(raw[:, 0] * 0.2989 + raw[:, 1] * 0.587 + raw[:, 2] * 0.114)[:, None]
    by = factor.numpy().astype(np.float64)[:, None, None, None]
    mean = gray.mean(axis=(1, 2, 3), keepdims=True)
    for ours, wanted in (
        (change.brightness(x, factor), raw * by),
        (change.contrast(x, factor), raw * by + mean * (1 - by)),
        (change.saturation(x, factor), raw * by + gray * (1 - by)),
    ):
        assert np.abs(ours.numpy() - np.floor(wanted.clip(0, 255))).max() <= 1


def test_hue_by_colorsys():
    x, shift = images(n=N), some(-0.5, 0.5)
    ours = change.hue(x, shift)
    for image, turned, by in zip(x[:, :, 0], ours[:, :, 0], shift.tolist(), strict=True):
        for before, after in zip(image.T.tolist(), turned.T.tolist(), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in before))
            wanted = colorsys.hsv_to_rgb((h + by) % 1, s, v)
            assert max(abs(a - 255 * b) for a, b in zip(after, wanted, strict=True)) <= 1.01
    gray = images((1, 4, 4)).expand(-1, 3, -1, -1)
    assert torch.equal(change.hue(gray, shift), gray)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_a_resized_crop_is_the_crop_interpolated(dtype: torch.dtype):
    x = images().to(dtype)
    top, left = torch.arange(N) % 4, torch.arange(N) % 5
    height, width = 1 + torch.arange(N), 16 - left - torch.arange(N) % 3
    height = torch.minimum(height, 12 - top)
    ours = change.resized_crop(x, top, left, height, width)
    assert ours.dtype == dtype
    for i in range(N):
        t, at, h, w = (int(v[i]) for v in (top, left, height, width))
        crop = x[i : i + 1, :, t : t + h, at : at + w].double()
        wanted = F.interpolate(crop, (12, 16), mode="bilinear", align_corners=False)[0]
        tolerance = {torch.uint8: 0.501, torch.float32: 1e-3, torch.float64: 1e-3}[dtype]
        assert float((ours[i].double() - wanted).abs().max()) <= tolerance


def test_a_resized_crop_is_that_of_torchvision():
    f, x = functional(), images().float()
    top, left, height, width = rectangles(N, 12, 16, torch.device("cpu"))
    ours = change.resized_crop(x, top, left, height, width)
    for i in range(N):
        box = [int(v[i]) for v in (top, left, height, width)]
        wanted = f.resized_crop(x[i], *box, size=[12, 16], antialias=True)
        torch.testing.assert_close(ours[i], wanted, atol=1e-3, rtol=1e-4)


def by_trial(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """``RandomResizedCrop.get_params`` of torchvision, said anew."""
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1.0)
        aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    aspect = min(max(width / height, 3 / 4), 4 / 3)
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (40, 9)])
def test_rectangles_are_drawn_as_torchvision_draws_them(height: int, width: int):
    torch.manual_seed(0)
    drawn = rectangles(4000, height, width, torch.device("cpu"))
    ours = np.stack([values.numpy() for values in drawn]).astype(float)
    rng = np.random.default_rng(0)
    wanted = np.array([by_trial(height, width, rng) for _ in range(4000)]).T.astype(float)
    for a, b, side in zip(ours, wanted, (height, width) * 2, strict=True):
        assert abs(a.mean() - b.mean()) < 0.02 * side
        assert abs(a.std() - b.std()) < 0.02 * side
        assert (a.min(), a.max()) == pytest.approx((b.min(), b.max()), abs=1)
    assert (ours[0] + ours[2]).max() <= height
    assert (ours[1] + ours[3]).max() <= width


def test_rectangles_that_never_fit_are_central():
    top, left, h, w = rectangles(50, 4, 400, torch.device("cpu"), share=(0.9, 1.0))
    assert set(h.tolist()) == {4}
    assert set(w.tolist()) == {round(4 * 4 / 3)}
    assert set(left.tolist()) == {(400 - round(4 * 4 / 3)) // 2}
    assert set(top.tolist()) == {0}


def test_cut_out_is_a_rectangle_of_half_the_sides_around_a_pixel():
    x = images((3, 16, 32), n=4, low=1)
    row, column = torch.tensor([8, 0, 15, 3]), torch.tensor([16, 0, 31, 30])
    out = change.cut_out(x, row, column)
    for i in range(4):
        wanted = x[i].clone()
        y, z = int(row[i]), int(column[i])
        wanted[:, max(0, y - 4) : y + 4, max(0, z - 8) : z + 8] = 0
        assert torch.equal(out[i], wanted)


# --- as data.augment names them ------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_shape_dtype_and_argument_stay(name: str):
    if name in OF_TORCHVISION:
        pytest.importorskip("torchvision")
    torch.manual_seed(0)
    x = images((3, 16, 16), n=20)
    before, out = x.clone(), augment(name, x)
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert torch.equal(x, before)
    changed = [not torch.equal(a, b) for a, b in zip(out, x, strict=True)]
    assert any(changed)
    others = {tuple(a.int().sub(b.int()).flatten().tolist()) for a, b in zip(out, x, strict=True)}
    assert len(others) > 2  # each image has draws of its own
    assert augment(name, x[:0]).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("name", [n for n in OURS if n != "gray"])
def test_images_without_an_axis_of_channels(name: str):
    x = images((16, 16))
    torch.manual_seed(1)
    out = augment(name, x)
    torch.manual_seed(1)
    assert torch.equal(out, augment(name, x[:, None])[:, 0])


@pytest.mark.parametrize("name", [*OPERATIONS, "crop+flip+jitter"])
def test_the_seed_decides(name: str):
    if name in OF_TORCHVISION:
        pytest.importorskip("torchvision")
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(augment(name, images()))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_crop_and_flip_is_crop_flip_to_the_same_bits():
    for shape in ((3, 32, 32), (28, 28)):
        found = []
        for name in ("crop_flip", "crop+flip"):
            torch.manual_seed(3)
            found.append(augment(name, images(shape)))
        assert torch.equal(*found)


def test_names_are_applied_in_their_order():
    x = images((3, 8, 8))
    torch.manual_seed(2)
    wanted = augment("cutout", augment("brightness", x))
    torch.manual_seed(2)
    assert torch.equal(augment("brightness+cutout", x), wanted)


@pytest.mark.parametrize(
    ("name", "is_changed", "share"),
    [("flip", None, 0.5), ("gray", None, 0.2), ("jitter", None, 0.8)],
)
def test_probabilities(name: str, is_changed: None, share: float):
    torch.manual_seed(0)
    x = images((3, 4, 4), n=2000)
    changed = (augment(name, x) != x).flatten(1).any(1).float().mean()
    assert float(changed) == pytest.approx(share, abs=0.04)


def test_brightness_is_within_63_255ths():
    torch.manual_seed(0)
    x = torch.full((3000, 1, 2, 2), 100, dtype=torch.uint8)
    level = augment("brightness", x)[:, 0, 0, 0].int()
    assert (int(level.min()), int(level.max())) == (75, 124)  # 100 * (1 +- .247), cut
    assert float(level.float().mean()) == pytest.approx(99.5, abs=1)


class Reads(TorchDispatchMode):
    """Counts what makes the host wait for the device."""

    names: list[str]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_read_back_and_no_tensor_is_made_elsewhere(name: str):
    mode = Reads()
    mode.names = []
    here = images((3, 16, 16))
    with torch.device("meta"):
        x = torch.empty((4, 3, 16, 16), dtype=torch.uint8)
        with mode:
            assert augment(name, x).device.type == "meta"
        assert augment(name, here).device.type == "cpu"
    waiting = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}
    assert not waiting & set(mode.names)
    assert mode.names


def test_views_are_drawn_anew():
    x = images((3, 16, 16))
    torch.manual_seed(0)
    first, second, third = views("resized_crop+flip+jitter+gray", x, 3)
    assert first.shape == second.shape == third.shape == x.shape
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    torch.manual_seed(0)
    assert torch.equal(first, augment("resized_crop+flip+jitter+gray", x))
    assert all(torch.equal(view, x) for view in views("none", x))


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "says"),
    [
        ("jiter", (3, 8, 8), torch.uint8, "did you mean 'jitter'"),
        ("crop+", (3, 8, 8), torch.uint8, "is unknown"),
        ("none+crop", (3, 8, 8), torch.uint8, "'none' is unknown"),
        ("cutout", (64,), torch.uint8, "needs images"),
        ("gray", (8, 8), torch.uint8, "3 channels"),
        ("jitter", (4, 8, 8), torch.uint8, "1 or 3 channels"),
        ("crop+brightness", (3, 8, 8), torch.float32, "needs uint8 images"),
    ],
)
def test_refusals(name: str, shape: tuple[int, ...], dtype: torch.dtype, says: str):
    with pytest.raises(UsageError, match=says) as error:
        check_augment(name, shape, dtype)
    assert "\n" not in str(error.value)


def test_colours_are_of_values_to_255():
    check_augment("crop+flip", (8, 8), torch.uint8, 1 / 16)
    with pytest.raises(UsageError, match="with values to 16; leave it out"):
        check_augment("crop+brightness", (8, 8), torch.uint8, 1 / 16)


def test_torchvision_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    from clbench.data.augment import _policy

    _policy.cache_clear()
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    for name in OF_TORCHVISION:
        with pytest.raises(UsageError, match="pip install torchvision"):
            check_augment(name, (3, 8, 8))


@pytest.mark.parametrize("name", OF_TORCHVISION)
def test_policies_are_those_of_torchvision(name: str):
    v2 = pytest.importorskip("torchvision.transforms.v2")
    made = {
        "autoaugment": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        "randaugment": v2.RandAugment,
    }[name]()
    torch.manual_seed(5)
    wanted = torch.stack([made(image) for image in images()])
    torch.manual_seed(5)
    x = images()
    with torch.device("meta"):  # they draw on the CPU, whatever the default is
        out = augment(name, x)
    assert torch.equal(out, wanted)


def test_the_setting_is_checked_where_it_is_given():
    assert operations("none") == []
    words = ("scenario=scole", "scenario.n_tasks=2", "strategy=naive")
    with pytest.raises(UsageError, match=r"data\.augment=cropp"):
        run(*words, "data.augment=cropp")
    with pytest.raises(UsageError, match="needs images"):
        run(*words, "data.augment=crop+cutout")


@pytest.mark.parametrize("names", ["crop+flip+brightness", "resized_crop+jitter+gray+cutout"])
def test_a_run_with_augmentations_learns_from_changed_samples(names: str):
    on = pool(n_classes=4, n_train=6, n_test=2, shape=(3, 8, 8))
    words = ("scenario=scole", "scenario.n_tasks=3", "strategy=naive")
    weights: list[Tensor] = []
    for name in (names, names, "none"):
        strategy, outcome = go(run(*words, f"data.augment={name}", on=on))
        assert outcome.error is None
        weights.append(strategy.weights)  # type: ignore[arg-type, union-attr]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
