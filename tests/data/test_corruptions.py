"""Corruptions: what all have in common, and what each one must do by its formula."""

import pytest
import torch

from clbench.data import filters
from clbench.data.corruptions import DETERMINISTIC, KINDS, SEVERITIES, corrupt

BLURS = ["gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur", "glass_blur", "elastic"]
FREE_OF_CHANCE = ["none", "gaussian_blur", "defocus_blur", "zoom_blur", "contrast", "brightness"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def scenes(channels=3, n=6, side=28):
    """Smooth images with edges, all values in [0, 1]."""
    x = torch.rand(n, channels, side, side, generator=generator(5))
    return filters.gaussian_blur(x, 2.0).sub(0.5).mul(6).sigmoid()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_range_shape_and_determinism(kind, channels, severity):
    x = scenes(channels)
    before = x.clone()
    out = corrupt(kind, x, severity, generator())
    assert out.shape == x.shape
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(x, before)
    with torch.device("meta"):
        assert torch.equal(corrupt(kind, x, severity, generator()), out)
    unchanged = kind == "none" or (kind == "saturate" and channels == 1)
    assert torch.allclose(out, x) == unchanged
    if kind not in (*FREE_OF_CHANCE, "saturate"):
        assert not torch.equal(corrupt(kind, x, severity, generator(1)), out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 8), (16, 20)])
def test_small_and_oblong_images(kind, shape):
    x = torch.rand(2, 1, *shape, generator=generator())
    assert corrupt(kind, x, 5, generator()).isfinite().all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("none", "saturate", "elastic")])
def test_severity_five_is_further_from_the_image_than_one(kind):
    x = scenes(3, n=24)
    weak, strong = ((corrupt(kind, x, s, generator()) - x).abs().mean() for s in (1, 5))
    assert strong > weak


@pytest.mark.parametrize("kind", BLURS)
def test_blurs_keep_a_constant_image(kind):
    x = torch.full((2, 3, 28, 28), 0.4)
    inner = (slice(None), slice(None), slice(8, -8), slice(8, -8))  # zoom_blur reads no border
    for severity in SEVERITIES:
        out = corrupt(kind, x, severity, generator())
        torch.testing.assert_close(out[inner], x[inner])


@pytest.mark.parametrize(
    ("kind", "severity", "std"), [("gaussian_noise", 3, 0.08), ("speckle_noise", 3, 0.06)]
)
def test_additive_noise_has_the_stated_deviation(kind, severity, std):
    x = torch.full((64, 1, 28, 28), 0.5)
    noise = corrupt(kind, x, severity, generator()) - x
    assert abs(noise.std().item() / std - 1) < 0.02
    assert abs(noise.mean().item()) < 0.002


def test_shot_noise_has_the_variance_of_photons():
    x = torch.full((64, 1, 28, 28), 0.5)
    noise = corrupt("shot_noise", x, 3, generator()) - x
    assert abs(noise.var().item() / (0.5 / 100) - 1) < 0.03


def test_impulse_noise_strikes_the_stated_share():
    out = corrupt("impulse_noise", torch.full((64, 1, 28, 28), 0.5), 5, generator())
    assert abs((out == 0).float().mean().item() - 0.035) < 0.003
    assert abs((out == 1).float().mean().item() - 0.035) < 0.003


def test_contrast_and_brightness_by_their_formulas():
    x = scenes(3)
    out = corrupt("contrast", x, 2, generator())
    torch.testing.assert_close(out.mean((2, 3)), x.mean((2, 3)))
    torch.testing.assert_close(out.std((2, 3)), 0.5 * x.std((2, 3)))
    gray = scenes(1)
    torch.testing.assert_close(
        corrupt("brightness", gray, 4, generator()), (gray + 0.2).clamp(0, 1)
    )
    brighter = corrupt("brightness", x, 2, generator())
    torch.testing.assert_close(brighter.amax(1), (x.amax(1) + 0.1).clamp(0, 1))


def test_saturate_against_the_standard_library():
    import colorsys

    x = scenes(3, n=1, side=6)
    out = corrupt("saturate", x, 4, generator())
    for pixel, got in zip(x[0].flatten(1).T.tolist(), out[0].flatten(1).T.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        want = colorsys.hsv_to_rgb(hue, min(2 * saturation + 0.1, 1), value)
        assert got == pytest.approx(want, abs=1e-5)


def test_gaussian_blur_against_scipy():
    from scipy.ndimage import gaussian_filter

    x = scenes(1, n=1)
    for severity, sigma in ((2, 0.6), (5, 1.0)):
        want = gaussian_filter(x[0, 0].double().numpy(), sigma, mode="nearest")
        got = corrupt("gaussian_blur", x, severity, generator())[0, 0]
        torch.testing.assert_close(got.double(), torch.from_numpy(want), atol=1e-5, rtol=0)


def test_glass_blur_moves_values_at_most_one_pixel_a_pass():
    x = torch.arange(28.0 * 28).reshape(1, 1, 28, 28) / 784
    out = corrupt("glass_blur", x, 1, generator())  # sigma 0.05: no blur, one pass
    steps = (x - out) * 784
    assert set(steps.round().unique().tolist()) == {0.0, 1.0, 28.0, 29.0}


def test_disk_and_gaussian_kernels_sum_to_one():
    for radius, alias in ((0.3, 0.4), (1.0, 0.2), (1.5, 0.1)):
        kernel = filters.disk(radius, alias)
        assert kernel.sum().item() == pytest.approx(1)
        assert torch.equal(kernel, kernel.T)


def test_motion_blur_smears_along_its_direction():
    x = torch.zeros(2, 1, 21, 21)
    x[:, :, 10, 10] = 1
    out = filters.motion_blur(x, 6, 2.0, torch.tensor([0.0, 90.0]))
    assert out.sum((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert out[0, 0, 10].sum().item() == pytest.approx(1, abs=1e-4)
    assert out[1, 0, :, 10].sum().item() == pytest.approx(1, abs=1e-4)


def test_plasma_spans_the_unit_range_and_roughens_with_small_decay():
    smooth, rough = (filters.plasma(32, 32, decay, generator()) for decay in (3.0, 1.75))
    for clouds in (smooth, rough):
        assert clouds.amin((1, 2)).tolist() == [0] * 32
        assert clouds.amax((1, 2)).tolist() == [1] * 32
    assert rough.diff(dim=2).abs().mean() > smooth.diff(dim=2).abs().mean()


@pytest.mark.parametrize("kind", KINDS)
def test_the_deterministic_kinds_are_those_that_draw_nothing(kind):
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    corrupt(kind, x, 5, generator)
    assert torch.equal(before, generator.get_state()) == (kind in DETERMINISTIC)
