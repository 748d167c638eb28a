"""Networks over episodes: an encoder with temporal shift, and the writer of an image-like memory.

An episode is T samples that are written together. Temporal shift moves an eighth of the channels one
sample forward and an eighth one sample back before a layer, so that samples see their neighbours at
no cost (Lin, Gan, Han 2019, arXiv 1811.08383, "in-place" of eq. 2). Images go through convolutions of
stride 2; samples of other shapes go through linear layers.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FOLDS = 8
"""One part in so many of the channels is shifted, in each direction."""
PATCH = 4
"""Cells of a memory on a side of what is written from one cell of a coarse map."""


def temporal_shift(h: Tensor) -> Tensor:
    """Shift channels between the samples of an episode, with zeros at its ends; ``(T, C, ...)``."""
    n = max(1, h.shape[1] // FOLDS)
    edge = torch.zeros_like(h[:1, :n])
    before = torch.cat([edge, h[:-1, :n]])
    after = torch.cat([h[1:, n : 2 * n], edge])
    return torch.cat([before, after, h[:, 2 * n :]], 1)


def is_image(input_shape: tuple[int, ...]) -> bool:
    """Whether samples are images, ``(H, W)`` or ``(C, H, W)``, of at least 4 pixels on a side."""
    return len(input_shape) in (2, 3) and min(input_shape[-2:]) >= 4


class SampleEncoder(nn.Module):
    """Maps samples to features, ``(T, *input_shape)`` to ``(T, size)``; with ``shift`` to episodes'.

    Without ``shift`` a sample's features do not depend on the others. With it they do, from the second
    layer on, and they are averaged over space.
    """

    def __init__(self, input_shape: tuple[int, ...], width: int, shift: bool) -> None:
        super().__init__()
        self.input_shape, self.shift = input_shape, shift
        self.image = is_image(input_shape)
        if self.image:
            channels = 1 if len(input_shape) == 2 else input_shape[0]
            widths = [channels, width, 2 * width, 2 * width]
            layers: list[nn.Module] = [
                nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)
            ]
            cells = 1
            for side in input_shape[-2:]:
                for _ in layers:
                    side = -(-side // 2)
                cells *= side
            self.size = 2 * width * (1 if shift else cells)
        else:
            layers = [nn.Linear(math.prod(input_shape), 4 * width), nn.Linear(4 * width, 4 * width)]
            self.size = 4 * width
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Encode float samples."""
        h = x.reshape(len(x), -1, *self.input_shape[-2:]) if self.image else x.flatten(1)
        for number, layer in enumerate(self.layers):
            if self.shift and number:
                h = temporal_shift(h)
            h = layer(h).relu()
        return h.flatten(2).mean(2) if self.shift and self.image else h.flatten(1)


class MemoryWriter(nn.Module):
    """Writes an episode into a memory: ``(T, *input_shape)`` to ``(channels, side, side)``.

    The pass is feed-forward and deterministic: q(M | X) is a point. The size of the memory does not
    depend on T. The pooled features become a coarse map, and each of its cells 4 x 4 cells of the
    memory (a transposed convolution whose stride is its kernel).
    """

    def __init__(self, input_shape: tuple[int, ...], width: int, channels: int, side: int) -> None:
        super().__init__()
        self.encoder = SampleEncoder(input_shape, width, shift=True)
        self.side, self.start = side, -(-side // PATCH)
        self.spread = nn.Linear(self.encoder.size, 2 * width * self.start**2)
        self.patches = nn.Linear(2 * width, channels * PATCH**2)

    def forward(self, x: Tensor) -> Tensor:
        """Write float samples."""
        pooled = self.encoder(x).mean(0)
        cells = self.spread(pooled).relu().view(self.start, self.start, -1)
        memory = F.pixel_shuffle(self.patches(cells).permute(2, 0, 1), PATCH)
        return memory[:, : self.side, : self.side]
