"""Common corruptions of images at severities 1 (weak) to 5 (strong).

Kinds and constants are those of CIFAR-10-C, the variant of ImageNet-C for small images (Hendrycks &
Dietterich 2019, arXiv 1903.12261; constants compared with ``make_cifar_c.py`` of its authors), and
are in pixels, for sides near 32. Frost, pixelate and JPEG are left out, as in SCoLe.

The torch formulas here differ from the reference's OpenCV and ImageMagick calls as follows.
All: no rounding to 8 bits in between; borders are replicated or reflected by one rule.
``motion_blur`` and ``snow`` interpolate along the trail; ``zoom_blur`` and ``snow`` zoom about the
centre to the exact factor; ``elastic`` samples once instead of twice; ``spatter`` in water
(severity 1-3) brightens the drops by their height and leaves out the relief of their edges, a rough
approximation; ``saturate`` keeps pixels without colour as they are (the reference tints them red at
severities 4 and 5), so it is the identity on gray images. ``fog`` and ``elastic`` follow the image
instead of a fixed 32x32. The images were not compared with those of the reference.

Every function takes ``(n, C, H, W)`` float32 in [0, 1], a severity and a CPU generator, and returns
a new tensor of that shape, dtype, range and device; ``kind(x, s, g)`` is determined by its inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clbench.data import filters
from clbench.errors import UsageError

SEVERITIES = range(1, 6)
Corruption = Callable[[Tensor, int, torch.Generator], Tensor]


def check_corruption(kind: str, severity: int) -> None:
    """Check the kind and the severity.

    Raises:
        UsageError: the kind is unknown, or the severity is not in 1..5. (In SCoLe's code severity 0
            indexes the last, strongest constant.)
    """
    if kind not in KINDS:
        raise UsageError(f"corruption {kind!r} is unknown; one of {', '.join(KINDS)}")
    if severity not in SEVERITIES:
        raise UsageError(f"corruption severity {severity} is not in 1 (weak) to 5 (strong)")


def corrupt(kind: str, x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Apply one of ``KINDS``; shapes are in this module's docstring.

    Raises:
        UsageError: see ``check_corruption``.
    """
    check_corruption(kind, severity)
    return KINDS[kind](x, severity, generator).clamp(0, 1)


def none(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return the images unchanged; draws nothing."""
    return x


def gaussian_noise(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise."""
    std = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return x + std * filters.normal(tuple(x.shape), generator, x.device)


def shot_noise(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Add Poisson noise, with ``photons`` photons on average where the image is white."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    return (torch.poisson(x.cpu() * photons, generator) / photons).to(x.device)


def impulse_noise(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Set a share of all values to 0 or 1 (salt and pepper noise)."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    draw = filters.uniform(0, 1, tuple(x.shape), generator, x.device)
    salted = torch.where(draw > 1 - share / 2, torch.ones_like(x), x)
    return torch.where(draw < share / 2, torch.zeros_like(x), salted)


def speckle_noise(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise in proportion to the brightness."""
    std = (0.06, 0.10, 0.12, 0.16, 0.20)[severity - 1]
    return x + x * std * filters.normal(tuple(x.shape), generator, x.device)


def gaussian_blur(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Blur with a Gaussian; draws nothing."""
    return filters.gaussian_blur(x, (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1])


def glass_blur(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Blur, replace each pixel by itself or its upper, left or upper left neighbour, and blur.

    The reference writes a swap of neighbours that NumPy's aliasing turns into this copy.
    """
    sigma, passes = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))[severity - 1]
    n, _, height, width = x.shape
    rows = torch.arange(height, device="cpu")[:, None].expand(height, width)
    columns = torch.arange(width, device="cpu").expand(height, width)
    movable = (rows > 1) & (columns > 1)
    x = filters.gaussian_blur(x, sigma)
    for _ in range(passes):
        up, left = torch.randint(2, (2, n, height, width), generator=generator, device="cpu")
        source = (rows - up * movable) * width + columns - left * movable
        index = source.to(x.device).flatten(1).unsqueeze(1).expand_as(x.flatten(2))
        x = x.flatten(2).gather(2, index).reshape(x.shape)
    return filters.gaussian_blur(x, sigma)


def defocus_blur(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Blur with a disk, like a lens out of focus; draws nothing."""
    radius, alias = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[severity - 1]
    return filters.blur(x, filters.disk(radius, alias))


def motion_blur(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Trail each image along a random direction within 45 degrees of the horizontal."""
    radius, sigma = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))[severity - 1]
    degrees = filters.uniform(-45, 45, (len(x),), generator, x.device)
    return filters.motion_blur(x, radius, sigma, degrees)


def zoom_blur(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Average over zooms from 1 in steps of 0.01; draws nothing."""
    n_zooms = (6, 11, 16, 21, 26)[severity - 1]
    total = x.clone()
    for i in range(n_zooms):
        total += filters.zoom(x, 1 + 0.01 * i)
    return total / (n_zooms + 1)


def fog(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Add clouds and scale the sum back to the brightest value of the image."""
    density, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[severity - 1]
    n, _, height, width = x.shape
    clouds = filters.plasma(n, max(height, width), decay, generator)[:, None, :height, :width]
    brightest = x.amax((1, 2, 3), keepdim=True)
    return (x + density * clouds.to(x.device)) * brightest / (brightest + density)


def snow(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Whiten the image and add snowflakes with trails."""
    mean, std, factor, threshold, radius, sigma, keep = (
        (0.10, 0.2, 1.00, 0.60, 8, 3.0, 0.95),
        (0.10, 0.2, 1.00, 0.50, 10, 4.0, 0.90),
        (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.90),
        (0.25, 0.3, 2.25, 0.60, 12, 6.0, 0.85),
        (0.30, 0.3, 1.25, 0.65, 14, 12.0, 0.80),
    )[severity - 1]
    flakes = mean + std * filters.normal((len(x), 1, *x.shape[2:]), generator, x.device)
    flakes = filters.zoom(flakes, factor)
    flakes = torch.where(flakes < threshold, torch.zeros_like(flakes), flakes.clamp(0, 1))
    degrees = filters.uniform(-135, -45, (len(x),), generator, x.device)
    flakes = filters.motion_blur(flakes, radius, sigma, degrees)
    whitened = keep * x + (1 - keep) * torch.maximum(x, _luma(x) * 1.5 + 0.5)
    return whitened + flakes + flakes.flip((2, 3))


def spatter(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Add drops of water (severity 1-3) or mud (4 and 5) on the lens."""
    mean, std, sigma, threshold, strength = (
        (0.62, 0.1, 0.7, 0.70, 0.5),
        (0.65, 0.1, 0.8, 0.70, 0.5),
        (0.65, 0.3, 1.0, 0.69, 0.5),
        (0.65, 0.1, 0.7, 0.69, 0.6),
        (0.65, 0.1, 0.5, 0.68, 0.6),
    )[severity - 1]
    liquid = mean + std * filters.normal((len(x), 1, *x.shape[2:]), generator, x.device)
    liquid = filters.gaussian_blur(liquid, sigma)
    if severity <= 3:
        drops = (liquid - threshold).clamp_min(0)
        drops = drops / drops.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        return x + strength * drops * _colour((175, 238, 238), x)
    drops = filters.gaussian_blur((liquid >= threshold).to(x.dtype), strength)
    drops = torch.where(drops < 0.8, torch.zeros_like(drops), drops)
    return x * (1 - drops) + drops * _colour((63, 42, 20), x)


def contrast(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Move every channel towards its mean over the image; draws no random numbers."""
    factor = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * factor + mean


def brightness(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Raise the value in hue-saturation-value space; draws nothing."""
    value = x.amax(1, keepdim=True)
    raised = (value + (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]).clamp(0, 1)
    # At fixed hue and saturation the channels keep their ratios to the value.
    return torch.where(value > 0, x / value.clamp_min(1e-6) * raised, raised.expand_as(x))


def saturate(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Scale and shift the saturation in hue-saturation-value space; identity on gray images."""
    factor, shift = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))[severity - 1]
    value, darkest = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    spread = value - darkest
    saturation = spread / value.clamp_min(1e-6)
    wanted = (saturation * factor + shift).clamp(0, 1)
    coloured = value - (value - x) / spread.clamp_min(1e-6) * wanted * value
    return torch.where(spread > 0, coloured, x)


def elastic(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Apply a random affine map of three points, then smooth random displacements."""
    push, smooth, jitter = (
        (0.00, 0.00, 0.08),
        (0.05, 0.20, 0.07),
        (0.08, 0.06, 0.06),
        (0.10, 0.04, 0.05),
        (0.10, 0.03, 0.03),
    )[severity - 1]
    n, _, height, width = x.shape
    side, cpu = min(height, width), torch.device("cpu")
    arm = max(side // 3, 1)
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], device=cpu) * arm
    corners = corners + torch.tensor([width // 2, height // 2], device=cpu)
    moved = corners + side * filters.uniform(-jitter, jitter, (n, 3, 2), generator, cpu)
    ones = torch.ones(n, 3, 1, device=cpu)
    # (x, y, 1) of a target pixel times ``back`` is where its value comes from.
    back = torch.linalg.solve(torch.cat((moved, ones), 2), corners.expand(n, 3, 2)).to(x.device)
    columns, rows = filters.pixel_grid(height, width, x.device)
    if push > 0:
        bend = filters.uniform(-1, 1, (n, 2, height, width), generator, x.device)
        bend = push * side * filters.gaussian_blur(bend, smooth * side, truncate=3.0)
        columns, rows = columns + bend[:, 0], rows + bend[:, 1]
    else:
        columns, rows = columns.expand(n, -1, -1), rows.expand(n, -1, -1)
    target = torch.stack((columns, rows, torch.ones_like(rows)), dim=-1)
    origin = (target.flatten(1, 2) @ back).reshape(n, height, width, 2)
    return filters.sample_at(x, origin[..., 0], origin[..., 1])


def _luma(x: Tensor) -> Tensor:
    """``(n, 1, H, W)``: perceived brightness (ITU-R BT.601); the mean if not RGB."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * torch.tensor([0.299, 0.587, 0.114], device=x.device)[:, None, None]).sum(1, True)


def _colour(rgb: tuple[int, int, int], x: Tensor) -> Tensor:
    """``(1, 3, 1, 1)`` for RGB images; else the colour's brightness."""
    colour = torch.tensor(rgb, device=x.device, dtype=x.dtype).reshape(1, 3, 1, 1) / 255
    return colour if x.shape[1] == 3 else _luma(colour)


KINDS: dict[str, Corruption] = {
    function.__name__: function
    for function in (
        none,
        gaussian_noise,
        shot_noise,
        impulse_noise,
        speckle_noise,
        gaussian_blur,
        glass_blur,
        defocus_blur,
        motion_blur,
        zoom_blur,
        fog,
        snow,
        spatter,
        contrast,
        brightness,
        saturate,
        elastic,
    )
}

DETERMINISTIC = frozenset(
    {"none", "gaussian_blur", "defocus_blur", "zoom_blur", "contrast", "brightness", "saturate"}
)
"""The kinds without random numbers: they give the same image every time."""
