"""From attributes to images: sampling glyphs from the atlas, filling them, and compositing.

All arithmetic is elementwise or per image, so an image does not depend on its batch: the same bytes
on one thread of the CPU in any batch size and order (elsewhere to a rounding of float32).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clbench.data.synbols.atlas import Atlas
from clbench.data.synbols.attributes import PATTERN_NAMES, Attributes
from clbench.data.synbols.counter import Draws
from clbench.data.synbols.patterns import PATTERNS, Camouflage, Natural, paint
from clbench.data.synbols.textures import Photographs, crop, planes

BATCH = 128
"""Images in memory as floats at a time."""
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
        for start in range(0, len(attributes), BATCH):
            part = attributes.rows(slice(start, start + BATCH))
            out[start : start + BATCH].copy_(self._finish(self._composite(part), part))
        return out

    @torch.inference_mode()
    def masks(self, attributes: Attributes) -> Tensor:
        """``(n, S, side, side)`` uint8 coverage of every shape, hidden by others or not."""
        shape = (len(attributes), attributes.shown.shape[1], self.side, self.side)
        out = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        for s in range(shape[1]):
            for start in range(0, len(attributes), BATCH):
                rows = start + np.flatnonzero(attributes.shown[start : start + BATCH, s])
                if len(rows):
                    covered = self._coverage(attributes, rows, s)[:, 0]
                    out[self._index(rows), s] = (covered * 255).round().to(torch.uint8)
        return out

    def _composite(self, part: Attributes) -> Tensor:
        """``(n, 3, side, side)`` float32: the background, and every shape over those before."""
        image = self._fill(part.background, part.background_seed)
        # Of one colour each, there is a pixel an image: what is laid over it needs them all.
        image = image.expand(-1, -1, self.side, self.side).contiguous()
        for s in range(part.shown.shape[1]):
            rows = np.flatnonzero(part.shown[:, s])
            if not len(rows):
                continue
            fill = self._fill(part.foreground[rows, s], part.foreground_seed[rows, s])
            covered = self._coverage(part, rows, s)
            if len(rows) == len(part):
                image.lerp_(fill.expand_as(image), covered)
            else:
                index = self._index(rows)
                below = image.index_select(0, index)
                image.index_copy_(0, index, below.lerp_(fill.expand_as(below), covered))
        return image

    def _fill(self, codes: np.ndarray, seeds: np.ndarray) -> Tensor:
        """``(n, 3, side, side)``, of one colour each ``(n, 3, 1, 1)``."""
        kinds = np.unique(codes)
        if len(kinds) == 1:
            return self._paint(PATTERN_NAMES[kinds[0]], seeds)
        out = torch.empty((len(codes), 3, self.side, self.side), device=self.device)
        for kind in kinds:
            rows = np.flatnonzero(codes == kind)
            out[self._index(rows)] = self._paint(PATTERN_NAMES[kind], seeds[rows]).expand(
                -1, -1, self.side, self.side
            )
        return out

    def _paint(self, name: str, seeds: np.ndarray) -> Tensor:
        pattern = PATTERNS[name]
        if isinstance(pattern, Camouflage):
            return crop(self.banks[name], seeds, self.side)
        if isinstance(pattern, Natural):
            assert self.photographs is not None
            return self.photographs.crop(pattern, seeds, self.side)
        return paint(pattern, seeds, self.side, self.device)

    def _coverage(self, attributes: Attributes, rows: np.ndarray, s: int) -> Tensor:
        """``(len(rows), 1, side, side)`` float32: how much of each pixel the shape ``s`` covers."""
        affine, level = place(self.atlas, attributes, rows, s, self.side, len(self.pictures))
        glyph = attributes.glyph[rows, s]
        found = [
            (which, self._sampled(int(at), glyph[which], affine[which]))
            for at in np.unique(level)
            for which in [np.flatnonzero(level == at)]
        ]
        if len(found) == 1:
            return found[0][1]
        out = torch.empty((len(rows), 1, self.side, self.side), device=self.device)
        for which, covered in found:
            out[self._index(which)] = covered
        return out

    def _sampled(self, level: int, glyph: np.ndarray, affine: np.ndarray) -> Tensor:
        pictures = self.pictures[level].index_select(0, self._index(glyph))[:, None].float()
        a = torch.as_tensor(affine, dtype=torch.float32, device=self.device)
        # Points in the order of their place in the pixel, so that those of a pixel lie in planes.
        steps = torch.arange(SAMPLES * self.side, device=self.device)
        within, pixel = steps // self.side, steps % self.side
        at = (pixel + (within + 0.5) / SAMPLES) / self.side
        along, down = a[..., :1] * at, a[..., 1:2] * at + a[..., 2:]  # (rows, 2, n)
        # One plane after the other: several times as fast as x and y side by side.
        grid = (along[:, :, None] + down[..., None]).permute(0, 2, 3, 1)
        seen = functional.grid_sample(pictures, grid, align_corners=False)
        apart = seen.view(len(seen), SAMPLES, self.side, SAMPLES, self.side)
        upper, lower = apart.unbind(1)
        left, right = upper.add(lower).unbind(2)
        return left.add(right)[:, None].mul_(1 / (255 * SAMPLES**2))

    def _finish(self, image: Tensor, part: Attributes) -> Tensor:
        """Gray, inversion, contrast, noise, and 8 bits, in Synbols' order."""
        if self.gray:
            image = image.mean(1, keepdim=True)
        low = torch.where(self._bool(part.max_contrast), image.amin((1, 2, 3)), 0.0)
        high = torch.where(self._bool(part.max_contrast), image.amax((1, 2, 3)), 1.0)
        flat = high <= low
        low, high = torch.where(flat, 0.0, low), torch.where(flat, 1.0, high)
        inverse = self._bool(part.inverse_color)
        gain = torch.where(inverse, -255.0, 255.0) / (high - low)
        offset = -torch.where(inverse, high, low) * gain
        image = image.mul_(gain[:, None, None, None]).add_(offset[:, None, None, None])
        rows = np.flatnonzero(part.pixel_noise_scale > 0)
        if len(rows):
            self._add_noise(image, part, rows)
        return image.clamp_(0, 255)[:, 0] if self.gray else image.clamp_(0, 255)

    def _add_noise(self, image: Tensor, part: Attributes, rows: np.ndarray) -> None:
        """To some of the images Gaussian noise: a window of the bank each, and half with a minus."""
        draws = Draws(part.noise_seed[rows])
        windows = self.noise.index_select(0, self._index(draws.below(0, len(self.noise))))
        std = part.pixel_noise_scale[rows] * 255 * np.where(draws.below(1, 2), 1, -1)
        windows.mul_(torch.as_tensor(std, dtype=torch.float32, device=self.device)[:, None])
        noise = windows.view(len(rows), *image.shape[1:])
        if len(rows) == len(image):
            image.add_(noise)
        else:
            image.index_add_(0, self._index(rows), noise)

    def _index(self, rows: np.ndarray) -> Tensor:
        return torch.as_tensor(rows, device=self.device)

    def _bool(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=self.device)


def place(
    atlas: Atlas, attributes: Attributes, rows: np.ndarray, s: int, side: int, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the shape ``s`` of some images lies.

    The glyph's longer extent is brought to ``scale`` and turned, then sheared if slanted; what
    surrounds it then has its place: -1 and 1 are the edges of the image (y: up is positive).

    Returns:
        ``(n, 2, 3)`` float64: from points (x, y, 1) of the unit square, y down, to coordinates in
        the picture, -1 to 1; and ``(n,)`` the level of the pyramid to sample from.
    """
    glyph = attributes.glyph[rows, s]
    scale = attributes.scale[rows, s] * np.minimum(1, atlas.extent[glyph] / SMALLEST_EXTENT)
    c, d = np.cos(attributes.rotation[rows, s]), np.sin(attributes.rotation[rows, s])
    shear = SLANT * attributes.is_slant[rows, s]
    matrix = np.array([[c, -d], [d + shear * c, c - shear * d]]).transpose(2, 0, 1)
    matrix = matrix * scale[:, None, None]
    hull = atlas.hull[glyph] @ matrix.transpose(0, 2, 1)
    low, high = hull.min(1), hull.max(1)
    to = np.stack((attributes.x_translation[rows, s], -attributes.y_translation[rows, s]), 1)
    shift = (to + 1) / 2 * (1 - (high - low)) - low
    size = int(atlas.pictures.shape[1])
    back = np.linalg.inv(matrix) * (2 * atlas.inner / size)
    affine = np.concatenate((back, -(back @ shift[:, :, None])), 2)
    texels = atlas.inner / (scale * side)  # to a pixel, on the finest level
    level = np.floor(np.log2(np.maximum(texels / SAMPLES, 1))).astype(np.int64)
    return affine, np.minimum(level, levels - 1)


def _noise_windows(pixels: int, device: torch.device) -> Tensor:
    """See ``Renderer.noise``: every quantile once, in an order drawn from a fixed seed."""
    from scipy.special import ndtri

    n = 2**NOISE_BITS
    order = np.argsort(Draws.of(NOISE_SEED, np.arange(n)).bits(0), kind="stable")
    normal = torch.as_tensor(ndtri((order + 0.5) / n), dtype=torch.float32, device=device)
    return torch.cat((normal, normal[:pixels])).as_strided((n, pixels), (1, 1))
