"""Camouflage and photographs: pictures made once and cropped for each image.

Synbols draws 500 strokes for every camouflage. Far from its edge such a picture is a stationary
dead leaves process, in which only the topmost strokes are visible, whatever their number. So a crop
of one large picture drawn the same way, with the colour channels permuted and half of them turned
by 180 degrees, has the statistics of one drawn for itself; ``exact`` draws that one, and the tests
compare. Two differences: a bank is finite, and near the border of an image Synbols' strokes have
their starts closer together and leave, rarely, a pixel bare.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clbench.data import array_cache
from clbench.data.pictures import MAX_PIXELS
from clbench.data.synbols.counter import Draws
from clbench.data.synbols.distributions import Normal
from clbench.data.synbols.patterns import Camouflage, Fill, Natural
from clbench.errors import UsageError

BANK_SIDE = 16
"""Sides of images to the side of a bank."""
LAYERS = 12
"""Strokes over each point of a bank; exp(-12) of it stays bare."""
BANK_SEED = 2009_06415
CHANNELS = np.array(list(permutations(range(3))))
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}


def exact(pattern: Camouflage, seed: int, side: int) -> np.ndarray:
    """``(side, side, 3)`` uint8: the strokes as Synbols draws them, one image; slow."""
    draws = Draws.of(seed, np.arange(pattern.strokes))
    vector = pattern.length * np.array([math.cos(pattern.angle), math.sin(pattern.angle)])
    place = np.stack((draws.uniform(0), draws.uniform(1)), 1)
    return _strokes(pattern, draws, (place * 1.6 - 0.3) * (1 - vector), side, 1)


def bank(pattern: Camouflage, side: int) -> np.ndarray:
    """``(BANK_SIDE * side, BANK_SIDE * side, 3)`` uint8, drawn once and cached.

    Args:
        pattern: the number of its strokes does not count.
        side: pixels to the side of an image.
    """
    recipe = {"kind": "bank", "format": 1, "side": side, "seed": BANK_SEED, "units": BANK_SIDE}
    recipe |= {"layers": LAYERS, **dataclasses.asdict(dataclasses.replace(pattern, strokes=0))}
    return array_cache.fetch("synbols", recipe, lambda: {"bank": _bank(pattern, side)})["bank"]


def _bank(pattern: Camouflage, side: int) -> np.ndarray:
    reach = pattern.length + pattern.width
    spread = BANK_SIDE + 2 * reach
    n = math.ceil(LAYERS * spread**2 / (pattern.length * pattern.width))
    draws = Draws.of(BANK_SEED, np.arange(n))
    start = np.stack((draws.uniform(0), draws.uniform(1)), 1) * spread - reach
    return _strokes(pattern, draws, start, side, BANK_SIDE)


def _strokes(
    pattern: Camouflage, draws: Draws, start: np.ndarray, side: int, units: int
) -> np.ndarray:
    """Quadrilaterals with cut ends over black, drawn larger and reduced."""
    from PIL import Image, ImageDraw

    vector = pattern.length * np.array([math.cos(pattern.angle), math.sin(pattern.angle)])
    noise = np.stack([Normal(0, pattern.noise).quantile(u, u) for u in map(draws.uniform, (2, 3))])
    along = vector + noise.T
    across = np.stack((-along[:, 1], along[:, 0]), 1)
    across *= pattern.width / 2 / np.linalg.norm(across, axis=1, keepdims=True)
    times = max(1, min(8, 4096 // (side * units)))
    scale = side * times
    corners = np.stack((start + across, start + along + across), 1)
    corners = np.concatenate((corners, corners[:, ::-1] - 2 * across[:, None]), 1) * scale - 0.5
    colours = np.stack([draws.below(4 + c, 256) for c in range(3)], 1)
    opacity = round(255 * pattern.alpha)
    image = Image.new("RGB", (scale * units, scale * units))
    brush = ImageDraw.Draw(image, "RGBA")
    for corner, colour in zip(
        corners.reshape(len(start), 8).tolist(), colours.tolist(), strict=True
    ):
        brush.polygon(corner, fill=(*colour, opacity))
    return np.asarray(image.reduce(times)) if times > 1 else np.asarray(image)


def planes(picture: np.ndarray, device: torch.device) -> Tensor:
    """``(2, 3, side, side)`` uint8: a bank's channels, upright and turned by 180 degrees."""
    upright = torch.tensor(picture, device=device).permute(2, 0, 1)
    return torch.stack((upright, upright.flip(1, 2)))


def crops(bank: Tensor, seeds: np.ndarray, side: int) -> Fill:
    """Crops of ``planes``, one for each of ``(n,)`` seeds."""
    draws, width = Draws(seeds), bank.shape[-1]
    room = width - side + 1
    top, left, turned = draws.below(0, room), draws.below(1, room), draws.below(3, 2)
    plane = 3 * turned[:, None] + CHANNELS[draws.below(2, len(CHANNELS))]
    start = (plane * width + top[:, None]) * width + left[:, None]
    starts = torch.as_tensor(start, device=bank.device)
    # Every square of the bank by where it begins: taken whole, not pixel by pixel.
    n_starts = bank.numel() - (side - 1) * (width + 1)
    squares = bank.as_strided((n_starts, side, side), (1, width, 1))

    def fill(rows: slice) -> Tensor:
        taken = squares.index_select(0, starts[rows].flatten())
        return taken.view(-1, 3, side, side).float().mul_(1 / 255)

    return fill


def photographs(place: Path | None) -> list[np.ndarray]:
    """``(H, W, 3)`` uint8 images: the user's, or two that come with scikit-learn.

    Args:
        place: a folder of PNG and JPEG files, searched with what is below it, or one such file.

    Raises:
        UsageError: no image is found, or one cannot be read.
    """
    if place is None:
        from sklearn.datasets import load_sample_images

        return [np.asarray(image) for image in load_sample_images().images]
    from PIL import Image

    place = place.expanduser()
    below = [place] if place.is_file() else sorted(place.rglob("*"))
    files = [f for f in below if f.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise UsageError(
            f"{place}: no .png or .jpg images; set data.images_path to a folder of some"
        )
    images = []
    for file in files:
        try:
            if not file.is_file():
                raise OSError("is no ordinary file")
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UsageError(
                        f"{file}: has more than {MAX_PIXELS:,} pixels; make it smaller"
                    )
                images.append(np.asarray(image.convert("RGB")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UsageError(f"{file}: not a readable PNG or JPEG image") from error
        if min(images[-1].shape[:2]) < 16:
            raise UsageError(f"{file}: smaller than 16 pixels")
    return images


@dataclasses.dataclass(frozen=True)
class Photographs:
    """Pyramids of photographs on a device, each level half the size of the one before."""

    levels: tuple[tuple[Tensor, ...], ...]
    """For each photograph ``(1, 3, H, W)`` float32 in [0, 1]."""

    @classmethod
    def of(cls, images: Sequence[np.ndarray], device: torch.device) -> Photographs:
        """From ``(H, W, 3)`` uint8 images."""
        pyramids = []
        for image in images:
            whole = torch.tensor(image, device=device).permute(2, 0, 1)[None].float() / 255
            pyramid = [whole]
            while min(pyramid[-1].shape[-2:]) >= 16:
                pyramid.append(functional.avg_pool2d(pyramid[-1], 2))
            pyramids.append(tuple(pyramid))
        return cls(tuple(pyramids))

    def crop(self, pattern: Natural, seeds: np.ndarray, side: int) -> Tensor:
        """``(n, 3, side, side)`` float32 in [0, 1]: a resized crop for each of ``(n,)`` seeds.

        The far corner is uniform beyond the smallest size, the near one uniform among those that
        leave it (as in Synbols, so crops are longer to the upper left); the aspect is not kept.
        """
        draws = Draws(seeds)
        which = draws.below(0, len(self.levels))
        far = pattern.smallest + (1 - pattern.smallest) * np.stack(
            (draws.uniform(1), draws.uniform(2)), 1
        )
        near = (far - pattern.smallest) * np.stack((draws.uniform(3), draws.uniform(4)), 1)
        shape = np.array([p[0].shape[:-3:-1] for p in self.levels])[which]  # (n, 2): W, H
        finest = ((far - near) * shape / (2 * side)).min(1)
        level = np.floor(np.log2(np.maximum(finest, 1))).astype(int)
        level = np.minimum(level, np.array([len(p) - 1 for p in self.levels])[which])
        device = self.levels[0][0].device
        out = torch.empty((len(seeds), 3, side, side), device=device)
        steps = (np.arange(2 * side) + 0.5) / (2 * side)
        for w, halvings in sorted(set(zip(which.tolist(), level.tolist(), strict=True))):
            rows = np.flatnonzero((which == w) & (level == halvings))
            axes = near[rows, :, None] + (far - near)[rows, :, None] * steps
            x, y = torch.as_tensor(axes * 2 - 1, dtype=torch.float32, device=device).unbind(1)
            size = (len(rows), 2 * side, 2 * side)
            grid = torch.stack((x[:, None].expand(size), y[:, :, None].expand(size)), -1)
            source = self.levels[w][halvings].expand(len(rows), -1, -1, -1)
            seen = functional.grid_sample(source, grid, padding_mode="border", align_corners=False)
            out[torch.as_tensor(rows, device=device)] = functional.avg_pool2d(seen, 2)
        return out
