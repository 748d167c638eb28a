"""Training-time augmentation of a batch, on its device.

Random numbers come from torch's global generator, which is seeded for every experience; on a GPU it
is that of the GPU. Nothing is read back to the host. ``autoaugment`` and ``randaugment`` are those of
torchvision: they draw from the CPU's generator and take one image after another.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from clbench.data import augmentations as change
from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean

PYCIL_BRIGHTNESS = 63 / 255
"""Brightness jitter of PyCIL's CIFAR protocols."""


def _crop(images: Tensor) -> Tensor:
    row, column = (_start(images, side) for side in (-2, -1))
    return change.cropped(images, row, column)


def _crop_flip(images: Tensor) -> Tensor:
    row, column = (_start(images, side) for side in (-2, -1))
    mirrored = torch.randint(2, (len(images), 1), device=images.device) == 1
    return change.cropped(images, row, column, mirrored)


def _start(images: Tensor, side: int) -> Tensor:
    """``(B, 1)``: the first line of a window in the padded side, anywhere in 0..2 * pad."""
    pad = images.shape[side] // 8
    return torch.randint(2 * pad + 1, (len(images), 1), device=images.device)


def _flip(images: Tensor) -> Tensor:
    return change.flipped(images, torch.randint(2, (len(images),), device=images.device) == 1)


def _resized_crop(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    return change.resized_crop(images, *rectangles(len(images), height, width, images.device))


def rectangles(
    n: int,
    height: int,
    width: int,
    device: torch.device,
    share: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw the rectangles of a resized crop as torchvision's ``RandomResizedCrop`` does.

    The first of ten tries that fits: the share of the area is uniform, and so is the logarithm of width
    by height. Where none fits, it is the largest central one within the bounds of that ratio.

    Returns:
        top, left, height, width: each ``(n,)`` int64.
    """
    area = _uniform((n, 10), *share, device) * (height * width)
    aspect = torch.exp(_uniform((n, 10), math.log(ratio[0]), math.log(ratio[1]), device))
    wide, high = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    first = fits.int().argmax(1, keepdim=True)
    whole_w, whole_h = width, height
    if width / height < ratio[0]:
        whole_h = round(width / ratio[0])
    elif width / height > ratio[1]:
        whole_w = round(height * ratio[1])
    fitted = fits.any(1)
    w = torch.where(fitted, wide.gather(1, first).squeeze(1), whole_w).long()
    h = torch.where(fitted, high.gather(1, first).squeeze(1), whole_h).long()
    spare_h, spare_w = height - h, width - w
    top = (_uniform((n,), 0, 1, device) * (spare_h + 1)).long().minimum(spare_h)
    left = (_uniform((n,), 0, 1, device) * (spare_w + 1)).long().minimum(spare_w)
    top = torch.where(fitted, top, spare_h // 2)
    return top, torch.where(fitted, left, spare_w // 2), h, w


def _brightness(images: Tensor) -> Tensor:
    return change.brightness(images, _around_one(images, PYCIL_BRIGHTNESS))


def _jitter(images: Tensor) -> Tensor:
    out = change.brightness(images, _around_one(images, 0.4))
    out = change.contrast(out, _around_one(images, 0.4))
    if images.shape[1] == 3:
        out = change.saturation(out, _around_one(images, 0.4))
        out = change.hue(out, _uniform((len(images),), -0.1, 0.1, images.device))
    is_changed = _uniform((len(images),), 0, 1, images.device) < 0.8
    return torch.where(is_changed[:, None, None, None], out, images)


def _gray(images: Tensor) -> Tensor:
    return change.grayscale(images, _uniform((len(images),), 0, 1, images.device) < 0.2)


def _cutout(images: Tensor) -> Tensor:
    row, column = (
        torch.randint(images.shape[side], (len(images),), device=images.device) for side in (-2, -1)
    )
    return change.cut_out(images, row, column)


def _uniform(shape: tuple[int, ...], low: float, high: float, device: torch.device) -> Tensor:
    return torch.rand(shape, device=device, dtype=torch.float32) * (high - low) + low


def _around_one(images: Tensor, width: float) -> Tensor:
    return _uniform((len(images),), 1 - width, 1 + width, images.device)


def _autoaugment(images: Tensor) -> Tensor:
    return _one_by_one(_policy("autoaugment"), images)


def _randaugment(images: Tensor) -> Tensor:
    return _one_by_one(_policy("randaugment"), images)


@lru_cache(maxsize=2)
def _policy(name: str) -> Callable[[Tensor], Tensor]:
    v2: Any = importlib.import_module("torchvision.transforms.v2")
    if name == "randaugment":
        made: Callable[[Tensor], Tensor] = v2.RandAugment()
        return made
    made = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    return made


def _one_by_one(policy: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    if len(images) == 0:
        return images
    with torch.device("cpu"):  # where the policy draws, whatever the default is
        return torch.stack([policy(image) for image in images])


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "crop": _crop,
    "flip": _flip,
    "crop_flip": _crop_flip,
    "resized_crop": _resized_crop,
    "brightness": _brightness,
    "jitter": _jitter,
    "gray": _gray,
    "cutout": _cutout,
    "autoaugment": _autoaugment,
    "randaugment": _randaugment,
}
OF_COLOURS = ("brightness", "jitter", "gray", "autoaugment", "randaugment")
OF_TORCHVISION = ("autoaugment", "randaugment")


def operations(names: str) -> list[str]:
    """The operations of ``data.augment``, in the order in which they are applied; ``none`` is none.

    Raises:
        UsageError: one of the names is unknown.
    """
    if names == "none":
        return []
    parts = names.split("+")
    for name in parts:
        if name not in OPERATIONS:
            raise UsageError(
                f"data.augment={names}: {name!r} is unknown{did_you_mean(name, OPERATIONS)}; none, or "
                f"names joined by +, of {', '.join(OPERATIONS)}"
            )
    return parts


def check_augment(
    names: str,
    input_shape: tuple[int, ...],
    dtype: torch.dtype = torch.uint8,
    scale: float = 1 / 255,
) -> None:
    """Check before training that ``augment`` can be applied to samples of this shape and dtype.

    Args:
        names: as ``data.augment`` takes them.
        input_shape: of a raw sample.
        dtype: of a raw sample.
        scale: brings raw values to the unit range.

    Raises:
        UsageError: a name is unknown, the samples are not what it changes, or a package is missing.
    """
    instead = "set data.augment=none"
    for name in operations(names):
        if len(input_shape) < 2:
            raise UsageError(
                f"data.augment={name} needs images, not samples of shape {input_shape}; {instead}"
            )
        channels = input_shape[0] if len(input_shape) == 3 else 1
        in_range = dtype == torch.uint8 and abs(scale * change.LARGEST - 1) < 1e-6
        if name in OF_COLOURS and not (
            in_range and channels in ((3,) if name == "gray" else (1, 3))
        ):
            needed = "3 channels" if name == "gray" else "1 or 3 channels"
            raise UsageError(
                f"data.augment={name} needs uint8 images of {needed} with values to 255, not {dtype} "
                f"of shape {input_shape} with values to {1 / scale:g}; leave it out"
            )
        if name in OF_TORCHVISION:
            try:
                _policy(name)
            except (ImportError, RuntimeError) as error:  # of another torch: RuntimeError
                raise UsageError(
                    f"data.augment={name} needs torchvision, which does not import here: "
                    "pip install torchvision"
                ) from error


def augment(names: str, x: Tensor) -> Tensor:
    """Augment raw samples ``(B, H, W)`` or ``(B, C, H, W)``, each on its own, keeping shape and dtype.

    ``none`` returns ``x``; names joined by ``+`` are applied in their order:

    - ``crop``: pad each side with zeros by an eighth of its length, take a window of the old size at a
      random place (He et al. 2016, section 4.2, which pads 32 pixels by 4).
    - ``flip``: mirror left-right with probability 1/2. ``crop_flip`` is both, and so is ``crop+flip``,
      to the same bits.
    - ``resized_crop``: a rectangle of 8 to 100 % of the area and 3:4 to 4:3, stretched to the old size.
    - ``brightness``: times a factor within 1 ± 63/255 (PyCIL's CIFAR protocol).
    - ``jitter``: with probability .8, brightness, contrast and saturation by 1 ± .4 and hue by ± .1
      turns, in this order (SimCLR, Chen et al. 2020, and SCR shuffle the order). Gray images have no
      saturation and no hue.
    - ``gray``: with probability .2, without colour.
    - ``cutout``: a black rectangle of half the height and width around a random pixel (DeVries &
      Taylor 2017, arXiv 1708.04552: 16 of 32 pixels on CIFAR-10; it takes 8 on CIFAR-100).
    - ``autoaugment``: torchvision's policy for CIFAR-10 (Cubuk et al. 2019); ``randaugment``:
      torchvision's, two operations of magnitude 9 (Cubuk et al. 2020).
    """
    parts = operations(names)
    if not parts:
        return x
    images = x.unsqueeze(1) if x.dim() == 3 else x
    for name in parts:
        images = OPERATIONS[name](images)
    return images.reshape(x.shape)


def views(names: str, x: Tensor, n: int = 2) -> tuple[Tensor, ...]:
    """Augment the same raw samples ``n`` times, each time anew, for contrastive methods.

    Args:
        names: as ``data.augment`` takes them, say ``resized_crop+flip+jitter+gray``.
        x: ``(B, H, W)`` or ``(B, C, H, W)``.
        n: the number of views.

    Returns:
        ``n`` tensors of the shape and dtype of ``x``; the i-th rows are views of the i-th sample.
    """
    return tuple(augment(names, x) for _ in range(n))


def suited(input_shape: tuple[int, ...], dtype: torch.dtype) -> str:
    """Choose augmentations for contrastive views that should leave a sample's class as it is.

    ``resized_crop+flip+jitter+gray`` for uint8 images with three channels, ``crop`` for other uint8
    images (a mirrored digit may be another one), and ``none`` for all else.
    """
    if dtype != torch.uint8 or len(input_shape) < 2:
        return "none"
    is_colour = len(input_shape) == 3 and input_shape[0] == 3
    return "resized_crop+flip+jitter+gray" if is_colour else "crop"
