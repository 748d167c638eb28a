"""From attributes to images: sampling glyphs from the atlas, filling them, and compositing.

All arithmetic is elementwise or per image, so an image does not depend on its batch: the same bytes
on one thread of the CPU in any batch size and order (elsewhere to a rounding of float32).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clbench.data.synbols.atlas import Atlas
from clbench.data.synbols.attributes import PATTERN_NAMES, Attributes
from clbench.data.synbols.counter import Draws
from clbench.data.synbols.patterns import PATTERNS, Camouflage, Fill, Natural, paint, within
from clbench.data.synbols.textures import Photographs, crops, planes

BATCH_PIXELS, SMALLEST_BATCH = 1 << 17, 8
"""Images in memory as floats at a time have so many pixels, 128 images of 32x32, and few enough for
a cache; but there are at least so many images."""
CHUNK = 2048
"""Shapes whose parameters are worked out at a time."""
CELL = 8
"""Pixels of a row that are sampled together: as many as vector instructions take at once."""
BLUR = 3.0
"""Texels of the level sampled from, by which a shape may be seen beyond its outermost points."""
SAMPLES = 2
"""Points sampled along each side of a pixel; the pyramid has at least as many texels."""
SLANT = 0.2
SMALLEST_EXTENT = 0.1
"""In em: a smaller glyph, a dot say, is not blown up to the full scale."""
NOISE_BITS = 20
NOISE_SEED = 2009_06415


@dataclass(frozen=True)
class Renderer:
    """What is needed to draw images of one size on one device."""

    atlas: Atlas
    pictures: tuple[Tensor, ...]
    """Pyramid of the atlas, ``(G, side, side)`` uint8 each, every level half of the one before."""
    banks: dict[str, Tensor]
    """Of each kind of camouflage, by name: see ``textures.planes``."""
    photographs: Photographs | None
    noise: Tensor
    """``(2 ** NOISE_BITS, pixels)`` float32: windows of a bank of standard normal numbers, each one
    number further than that before it."""
    side: int
    gray: bool
    device: torch.device

    @classmethod
    def of(
        cls,
        atlas: Atlas,
        banks: dict[str, np.ndarray],
        photographs: list[np.ndarray],
        side: int,
        gray: bool,
        device: torch.device,
    ) -> Renderer:
        """Put all of it on a device.

        Args:
            atlas: glyphs.
            banks: of every camouflage that occurs, by its name in ``PATTERNS``.
            photographs: none needed where no pattern is natural.
            side: of images, pixels.
            gray: one channel, the mean of three.
            device: where images are drawn.
        """
        pyramid = [torch.as_tensor(atlas.pictures, device=device)]
        while pyramid[-1].shape[-1] % 2 == 0 and pyramid[-1].shape[-1] > 8:
            half = functional.avg_pool2d(pyramid[-1][:, None].float(), 2)[:, 0]
            pyramid.append(half.round().to(torch.uint8))
        return cls(
            atlas=atlas,
            pictures=tuple(pyramid),
            banks={name: planes(picture, device) for name, picture in banks.items()},
            photographs=Photographs.of(photographs, device) if photographs else None,
            noise=_noise_windows((1 if gray else 3) * side**2, device),
            side=side,
            gray=gray,
            device=device,
        )

    @torch.inference_mode()
    def images(self, attributes: Attributes) -> Tensor:
        """``(n, 3, side, side)`` uint8, gray ``(n, side, side)``."""
        shape = (self.side, self.side) if self.gray else (3, self.side, self.side)
        out = torch.empty((len(attributes), *shape), dtype=torch.uint8, device=self.device)
        for chunk in _slices(len(attributes), CHUNK // attributes.shown.shape[1]):
            part = attributes.rows(chunk)
            self._draw(part, out[chunk])
        return out

    @torch.inference_mode()
    def masks(self, attributes: Attributes) -> Tensor:
        """``(n, S, side, side)`` uint8 coverage of every shape, hidden by others or not."""
        shape = (len(attributes), attributes.shown.shape[1], self.side, self.side)
        out = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        for s in range(shape[1]):
            shown = np.flatnonzero(attributes.shown[:, s])
            for chunk in _slices(len(shown), CHUNK):
                rows = shown[chunk]
                cover = self._cover(self._place(attributes, rows, s), attributes.glyph[rows, s])
                for batch in _slices(len(rows), self.batch):
                    covered = (cover(batch)[:, 0] * 255).round().to(torch.uint8)
                    out[self._put(rows[batch]), s] = covered
        return out

    @property
    def batch(self) -> int:
        """Images in memory as floats at a time."""
        return max(SMALLEST_BATCH, BATCH_PIXELS // self.side**2)

    def _draw(self, part: Attributes, out: Tensor) -> None:
        """The background, every shape over those before, and the finish, a batch at a time."""
        # Symbols of about one size together: those of a batch are sampled in boxes of one size.
        first = self._place(part, np.arange(len(part)), 0)
        order = np.lexsort((*first.size.T[::-1], first.level))
        part, number = part.rows(order), self._put(order)
        ground = self._fill(part.background, part.background_seed)
        shapes = []
        for s in range(part.shown.shape[1]):
            rows = np.flatnonzero(part.shown[:, s])
            if len(rows):
                fill = self._fill(part.foreground[rows, s], part.foreground_seed[rows, s])
                placed = self._place(part, rows, s) if s else first.rows(order[rows])
                shapes.append((rows, fill, self._cover(placed, part.glyph[rows, s])))
        finish = self._finish(part)
        for batch in _slices(len(part), self.batch):
            # Of one colour each, there is a pixel an image: what is laid over it needs them all.
            image = ground(batch).expand(-1, -1, self.side, self.side).contiguous()
            for rows, fill, cover in shapes:
                which, at = within(rows, batch)
                if len(at) == len(image):
                    image.lerp_(fill(which).expand_as(image), cover(which))
                elif len(at):
                    index = self._put(at)
                    below = image.index_select(0, index)
                    below.lerp_(fill(which).expand_as(below), cover(which))
                    image.index_copy_(0, index, below)
            out.index_copy_(0, number[batch], finish(image, batch))

    def _fill(self, codes: np.ndarray, seeds: np.ndarray) -> Fill:
        """Of patterns ``(n,)``."""
        kinds = np.unique(codes)
        parts = [
            (rows, self._paint(PATTERN_NAMES[kind], seeds[rows]))
            for kind in kinds
            for rows in [np.flatnonzero(codes == kind)]
        ]
        if len(parts) == 1:
            return parts[0][1]

        def fill(batch: slice) -> Tensor:
            shape = (batch.stop - batch.start, 3, self.side, self.side)
            out = torch.empty(shape, device=self.device)
            for rows, painted in parts:
                which, at = within(rows, batch)
                if len(at):
                    out[self._put(at)] = painted(which).expand(-1, -1, self.side, self.side)
            return out

        return fill

    def _paint(self, name: str, seeds: np.ndarray) -> Fill:
        pattern = PATTERNS[name]
        if isinstance(pattern, Camouflage):
            return crops(self.banks[name], seeds, self.side)
        if isinstance(pattern, Natural):
            assert self.photographs is not None
            photographs = self.photographs
            return lambda rows: photographs.crop(pattern, seeds[rows], self.side)
        return paint(pattern, seeds, self.side, self.device)

    def _place(self, attributes: Attributes, rows: np.ndarray, s: int) -> Placed:
        return place(self.atlas, attributes, rows, s, self.side, len(self.pictures))

    def _cover(self, placed: Placed, glyph: np.ndarray) -> Callable[[slice], Tensor]:
        """``(n, 1, side, side)`` float32: how much of each pixel a shape covers."""
        glyphs = self._put(glyph)
        affine = self._put(placed.affine.astype(np.float32))
        cells = -(-self.side // CELL)  # in a row of the image
        steps = torch.arange(cells * CELL, device=self.device)
        steps = steps + (torch.arange(SAMPLES, device=self.device)[:, None] + 0.5) / SAMPLES

        def covered(batch: slice) -> Tensor:
            n = batch.stop - batch.start
            out = torch.zeros((n * self.side * cells, CELL), device=self.device)
            for level in np.unique(placed.level[batch]).tolist():
                at = np.flatnonzero(placed.level[batch] == level)
                some = batch.start + at
                # The boxes of a batch are of one size; those that would leave the image are moved.
                width, height = placed.size[some].max(0).tolist()
                corner = np.minimum(placed.corner[some], (cells - width, self.side - height))
                row = (at * self.side + corner[:, 1])[:, None] + np.arange(height)
                cell = (row * cells + corner[:, :1])[:, :, None] + np.arange(width)
                x, y = self._put((corner * (CELL, 1)).astype(np.float32)).T[:, :, None, None]
                x = (x + steps[:, : width * CELL]).div_(self.side)
                y = (y + steps[:, :height]).div_(self.side)
                index = self._put(some)
                a = affine.index_select(0, index)
                along = a[..., :1] * x.flatten(1)[:, None]
                down = a[..., 1:2] * y.flatten(1)[:, None] + a[..., 2:]
                pictures = self.pictures[level].index_select(0, glyphs[index])
                box = _sampled(pictures, along, down)
                out.index_copy_(0, self._put(cell.ravel()), box.view(-1, CELL))
            return out.view(n, 1, self.side, cells * CELL)[..., : self.side]

        return covered

    def _finish(self, part: Attributes) -> Callable[[Tensor, slice], Tensor]:
        """Gray, inversion, contrast, noise, and 8 bits, in Synbols' order."""
        stretched, inverse = self._put(part.max_contrast), self._put(part.inverse_color)
        noisy, noise = part.pixel_noise_scale > 0, self._noise(part)

        def finished(image: Tensor, rows: slice) -> Tensor:
            if self.gray:
                image = image.mean(1, keepdim=True)
            low = torch.where(stretched[rows], image.amin((1, 2, 3)), 0.0)
            high = torch.where(stretched[rows], image.amax((1, 2, 3)), 1.0)
            flat = high <= low
            low, high = torch.where(flat, 0.0, low), torch.where(flat, 1.0, high)
            gain = torch.where(inverse[rows], -255.0, 255.0) / (high - low)
            offset = -torch.where(inverse[rows], high, low) * gain
            image = image.mul_(gain[:, None, None, None]).add_(offset[:, None, None, None])
            if noisy[rows].any():
                image.view(len(image), -1).add_(noise(rows))
            # By way of 16 bits: twice as fast, the same.
            image = image.clamp_(0, 255).to(torch.int16).to(torch.uint8)
            return image[:, 0] if self.gray else image

        return finished

    def _noise(self, part: Attributes) -> Callable[[slice], Tensor]:
        """``(n, pixels)`` Gaussian: a window of the bank for each image, and half with a minus."""
        draws = Draws(part.noise_seed)
        window = self._put(draws.below(0, len(self.noise)))
        std = part.pixel_noise_scale * 255 * np.where(draws.below(1, 2), 1, -1)
        factor = self._put(std.astype(np.float32))[:, None]
        return lambda rows: self.noise.index_select(0, window[rows]).mul_(factor[rows])

    def _put(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=self.device)


@dataclass(frozen=True)
class Placed:
    """Where a shape lies in ``n`` images."""

    affine: np.ndarray
    """``(n, 2, 3)`` float64: from points (x, y, 1) of the unit square, y down, to coordinates in
    the picture, -1 to 1."""
    level: np.ndarray
    """``(n,)`` int64: of the pyramid, to sample from."""
    corner: np.ndarray
    """``(n, 2)`` int64: where a box that has all of it begins, in cells and rows, ..."""
    size: np.ndarray
    """... and the box's size, at least 1 each."""

    def rows(self, which: np.ndarray) -> Placed:
        """In some of the images."""
        return Placed(self.affine[which], self.level[which], self.corner[which], self.size[which])


def place(
    atlas: Atlas, attributes: Attributes, rows: np.ndarray, s: int, side: int, levels: int
) -> Placed:
    """Where the shape ``s`` of some images lies.

    The glyph's longer extent is brought to ``scale`` and turned, then sheared if slanted; what
    surrounds it then has its place: -1 and 1 are the edges of the image (y: up is positive).
    """
    glyph = attributes.glyph[rows, s]
    scale = attributes.scale[rows, s] * np.minimum(1, atlas.extent[glyph] / SMALLEST_EXTENT)
    c, d = np.cos(attributes.rotation[rows, s]), np.sin(attributes.rotation[rows, s])
    shear = SLANT * attributes.is_slant[rows, s]
    matrix = np.array([[c, -d], [d + shear * c, c - shear * d]]).transpose(2, 0, 1)
    matrix = matrix * scale[:, None, None]
    x, y = atlas.hull[glyph].transpose(2, 0, 1)
    turned = matrix[:, :, :1] * x[:, None] + matrix[:, :, 1:] * y[:, None]  # (n, 2, points)
    low, high = turned.min(2), turned.max(2)
    to = np.stack((attributes.x_translation[rows, s], -attributes.y_translation[rows, s]), 1)
    shift = (to + 1) / 2 * (1 - (high - low)) - low
    size = int(atlas.pictures.shape[1])
    back = np.linalg.inv(matrix) * (2 * atlas.inner / size)
    affine = np.concatenate((back, -(back @ shift[:, :, None])), 2)
    texels = atlas.inner / (scale * side)  # to a pixel, on the finest level
    level = np.floor(np.log2(np.maximum(texels / SAMPLES, 1))).astype(np.int64)
    level = np.minimum(level, levels - 1)
    # Beyond its outermost points a glyph is seen as far as a texel reaches, turned and sheared.
    reach = (BLUR * 2.0**level * scale / atlas.inner)[:, None]
    cell, ends = np.array((CELL, 1)), np.array((-(-side // CELL), side))
    corner = np.floor((low + shift - reach) * side / cell).clip(0, ends - 1).astype(np.int64)
    end = np.ceil((high + shift + reach) * side / cell).clip(corner + 1, ends).astype(np.int64)
    return Placed(affine, level, corner, end - corner)


def _sampled(pictures: Tensor, along: Tensor, down: Tensor) -> Tensor:
    """``(n, height, width)`` float32 coverage of pixels, from ``(n, side, side)`` uint8 pictures.

    Args:
        pictures: one for each box.
        along: ``(n, 2, SAMPLES * width)``: what a point's column adds to its x and y in the picture,
            -1 to 1. In the order of their place in the pixel: those of a pixel then lie in planes.
        down: ``(n, 2, SAMPLES * height)``: what its row adds.
    """
    n, _, height = down.shape
    # One plane after the other: several times as fast as x and y side by side.
    grid = (along[:, :, None] + down[..., None]).permute(0, 2, 3, 1)
    seen = functional.grid_sample(pictures[:, None].float(), grid, align_corners=False)
    upper, lower = seen.view(n, SAMPLES, height // SAMPLES, SAMPLES, -1).unbind(1)
    left, right = upper.add(lower).unbind(2)
    return left.add(right).mul_(1 / (255 * SAMPLES**2))


def _slices(n: int, size: int) -> Iterator[slice]:
    """Consecutive, up to ``size`` long."""
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


def _noise_windows(pixels: int, device: torch.device) -> Tensor:
    """See ``Renderer.noise``: every quantile once, in an order drawn from a fixed seed."""
    from scipy.special import ndtri

    n = 2**NOISE_BITS
    order = np.argsort(Draws.of(NOISE_SEED, np.arange(n)).bits(0), kind="stable")
    normal = torch.as_tensor(ndtri((order + 0.5) / n), dtype=torch.float32, device=device)
    return torch.cat((normal, normal[:pixels])).as_strided((n, pixels), (1, 1))
