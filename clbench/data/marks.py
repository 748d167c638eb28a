"""Marks on images: attributes that are easy to see and independent of the class.

They stand in for the backgrounds of Waterbirds (Sagawa et al. 2020, arXiv 1911.08731) and the
colours of Colored MNIST (Arjovsky et al. 2019, arXiv 1907.02893) on images of any size, gray ones
too. Value ``a`` of ``n`` is mixed into an image: ``(1 - strength m) x + strength m p`` with the
pattern ``p`` of the value and the part ``m`` of the image that it covers.

- ``background``: all of the image in one tone; from black to white, or through the hues if RGB.
- ``stripes``: all of the image in soft stripes, at an angle of ``180 a / n`` degrees.
- ``patch``: a white square of a quarter of the image's side, at one of ``n`` places on the border.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import torch
from torch import Tensor

from clbench.errors import UsageError

PERIODS = 2
"""Stripes across the shorter side."""


def check_mark(kind: str) -> None:
    """Check the kind of mark.

    Raises:
        UsageError: the kind is unknown.
    """
    if kind not in KINDS:
        raise UsageError(f"mark {kind!r} is unknown; one of {', '.join(KINDS)}")


def mark(kind: str, x: Tensor, value: int, n: int, strength: float) -> Tensor:
    """Draw one of ``n`` values of an attribute on images.

    Args:
        kind: one of ``KINDS``.
        x: ``(m, C, H, W)`` float32 in [0, 1]; is not changed.
        value: ``0 <= value < n``.
        n: how many values there are, at least 2.
        strength: in (0, 1); at 1 ``background`` and ``stripes`` hide the image.

    Returns:
        Same shape, dtype, range and device.
    """
    pattern, cover = KINDS[kind](x[:1], value, n)
    return x + strength * cover * (pattern - x)


def background(like: Tensor, value: int, n: int) -> tuple[Tensor, float]:
    """``(1, C, 1, 1)``: a gray tone or, for three channels, a full hue; it covers everything."""
    channels = like.shape[1]
    if channels == 3:
        tone = list(colorsys.hsv_to_rgb(value / n, 1.0, 1.0))
    else:
        tone = [value / (n - 1)] * channels
    return torch.tensor(tone, dtype=like.dtype, device=like.device)[None, :, None, None], 1.0


def stripes(like: Tensor, value: int, n: int) -> tuple[Tensor, float]:
    """``(H, W)``: a plane wave; it covers everything."""
    height, width = like.shape[-2:]
    rows = torch.arange(height, dtype=like.dtype, device=like.device)[:, None]
    columns = torch.arange(width, dtype=like.dtype, device=like.device)
    angle = math.pi * value / n
    along = columns * math.cos(angle) + rows * math.sin(angle)
    return 0.5 + 0.5 * torch.cos(2 * math.pi * PERIODS / min(height, width) * along), 1.0


def patch(like: Tensor, value: int, n: int) -> tuple[Tensor, Tensor]:
    """White, and ``(H, W)``: one in the square and zero elsewhere."""
    height, width = like.shape[-2:]
    side = max(1, min(height, width) // 4)
    low, right = height - side, width - side
    # Clockwise along the border from the upper left corner, as a distance.
    way = 2 * (low + right) * value // n
    if way < right:
        top, left = 0, way
    elif way < right + low:
        top, left = way - right, right
    elif way < 2 * right + low:
        top, left = low, 2 * right + low - way
    else:
        top, left = 2 * (right + low) - way, 0
    cover = torch.zeros(height, width, dtype=like.dtype, device=like.device)
    cover[top : top + side, left : left + side] = 1
    return torch.ones((), dtype=like.dtype, device=like.device), cover


KINDS: dict[str, Callable[[Tensor, int, int], tuple[Tensor, Tensor | float]]] = {
    function.__name__: function for function in (background, stripes, patch)
}
