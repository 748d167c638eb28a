"""Changes of images by given numbers, one for each image, in their dtype and on their device.

Each takes images ``(B, C, H, W)``, which are uint8 where colours are changed. What is not a whole
number is cut or rounded as torchvision's functions do it, with which the tests compare.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GRAY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a gray value (ITU-R 601)."""
LARGEST = 255


def cropped(images: Tensor, row: Tensor, column: Tensor, flipped: Tensor | None = None) -> Tensor:
    """Pad each side with zeros by an eighth of its length and take a window of the old size.

    Args:
        images: ``(B, C, H, W)`` of any dtype.
        row: ``(B, 1)`` int64, the window's first row in the padded image.
        column: ``(B, 1)`` int64, its first column.
        flipped: ``(B, 1)`` bool, whether the window is mirrored left-right; None: none is.
    """
    height, width = images.shape[-2:]
    pad_rows, pad_columns = height // 8, width // 8
    padded = F.pad(images, (pad_columns, pad_columns, pad_rows, pad_rows))
    rows = row + torch.arange(height, device=images.device)
    columns = column + torch.arange(width, device=images.device)
    if flipped is not None:
        columns = torch.where(flipped, columns.flip(1), columns)
    pixels = rows.unsqueeze(2) * padded.shape[-1] + columns.unsqueeze(1)
    pixels = pixels.flatten(1).unsqueeze(1).expand(-1, images.shape[1], -1)
    return padded.flatten(2).gather(2, pixels).reshape(images.shape)


def flipped(images: Tensor, which: Tensor) -> Tensor:
    """Mirror left-right the images where ``which``, ``(B,)`` bool, says so."""
    return torch.where(_each(which), images.flip(-1), images)


def resized_crop(
    images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor
) -> Tensor:
    """Cut a rectangle out of each image and stretch it to the old size, bilinearly.

    ``top``, ``left``, ``height`` and ``width`` are ``(B,)`` int64; the rectangles lie in the images.
    """
    x = images.to(torch.float32) if not images.is_floating_point() else images
    above, below, weight = _taps(top, height, images.shape[-2])
    weight = weight.to(x.dtype)[:, None, :, None]
    x = _rows(x, above) * (1 - weight) + _rows(x, below) * weight
    above, below, weight = _taps(left, width, images.shape[-1])
    weight = weight.to(x.dtype)[:, None, :, None]
    x = x.transpose(-1, -2)
    x = (_rows(x, above) * (1 - weight) + _rows(x, below) * weight).transpose(-1, -2)
    if images.is_floating_point():
        return x
    return x.round().clamp(0, LARGEST).to(images.dtype)


def _taps(start: Tensor, length: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each of ``side`` places the two lines that it lies between, and the weight of the second.

    As torch's interpolation without aligned corners: places outside take the outermost line.
    """
    places = torch.arange(side, device=start.device, dtype=torch.float32) + 0.5
    at = (places * (length.to(torch.float32) / side)[:, None] - 0.5).clamp(min=0)
    first = at.floor().long()
    second = torch.minimum(first + 1, (length - 1)[:, None])
    return start[:, None] + first, start[:, None] + second, at - first


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """``(B, C, H, W)`` and ``(B, n)`` to the rows of each image, ``(B, C, n, W)``."""
    wide = index[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[-1])
    return x.gather(2, wide)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by ``factor``, ``(B,)`` float; 1 changes nothing, 0 is black."""
    return _whole(images * _each(factor), images)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move away from the image's mean gray value by ``factor``, ``(B,)`` float; 1 changes nothing."""
    mean = _gray(images).floor().mean(dim=(1, 2, 3), keepdim=True)
    return _blended(images, mean, factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Move away from each pixel's gray value by ``factor``, ``(B,)`` float; 1 changes nothing."""
    return _blended(images, _gray(images).floor(), factor)


def grayscale(images: Tensor, which: Tensor) -> Tensor:
    """Make gray, in three channels, the images where ``which``, ``(B,)`` bool, says so."""
    gray = _gray(images).to(images.dtype).expand_as(images)
    return torch.where(_each(which), gray, images)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the colour circle of RGB images by ``shift``, ``(B,)`` float, of whole turns."""
    red, green, blue = (images.to(torch.float32) / LARGEST).unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    spread = high - low
    is_gray = spread == 0
    divisor = torch.where(is_gray, torch.ones_like(spread), spread)
    of_red = ((green - blue) / divisor) % 6
    of_green = (blue - red) / divisor + 2
    of_blue = (red - green) / divisor + 4
    sixth = torch.where(high == red, of_red, torch.where(high == green, of_green, of_blue))
    sixth = (sixth / 6 + shift[:, None, None]) % 1 * 6
    # Each channel falls from the highest to the lowest value with the distance from its own hue.
    turned = []
    for place in (5.0, 3.0, 1.0):
        k = (place + sixth) % 6
        turned.append(high - spread * torch.minimum(k, 4 - k).clamp(0, 1))
    out = torch.stack(turned, dim=1)
    whole = (out * (LARGEST + 1 - 1e-3)).to(images.dtype)
    return torch.where(is_gray[:, None], images, whole)


def cut_out(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Set to zero a rectangle of half the height and width around a pixel, as far as it is inside.

    ``row`` and ``column`` are ``(B,)`` int64.
    """
    inside = []
    for centre, side in ((row, images.shape[-2]), (column, images.shape[-1])):
        half = max(1, side // 4)
        from_start = torch.arange(side, device=images.device) - (centre - half)[:, None]
        inside.append((from_start >= 0) & (from_start < 2 * half))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return images.masked_fill(hole[:, None], 0)


def _gray(images: Tensor) -> Tensor:
    """``(B, 1, H, W)`` float32."""
    if images.shape[1] == 1:
        return images.to(torch.float32)
    red, green, blue = images.to(torch.float32).unbind(1)
    return red.mul(GRAY[0]).add(green, alpha=GRAY[1]).add(blue, alpha=GRAY[2]).unsqueeze(1)


def _blended(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = _each(factor)
    return _whole(images.to(torch.float32) * share + other * (1 - share), images)


def _whole(x: Tensor, like: Tensor) -> Tensor:
    return x.clamp(0, LARGEST).to(like.dtype)


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
