"""TypeNet: counts the types of things in an image, wherever they are.

Webb & Ramapuram 2018, "A New Benchmark and Progress Toward Improved Weakly Supervised Learning"
(arXiv 1807.00126), from its code. Four convolutions (3x3, 5x5 of stride 2, 5x5, 3x3) without biases,
each followed by ELU and batch normalisation without factor and shift. Two 1x1 convolutions give maps
of ``types`` channels; each is a softmax over the channels, and the two are added. Three averages over
space are taken: of the sum itself and of its maxima over 5x5 and over 3x3. A perceptron of widths
``3 types`` (192), half of it and a quarter of it, each with ELU and the same normalisation, maps them
to scores. Weights are drawn by Glorot's uniform rule, and biases are zero. Raw values are brought to
[-0.5, 0.5].

Deviation: running statistics move by a tenth at each step, by a hundredth in the authors' code, whose
README says that they are often wrong; here runs are shorter. What ``data.normalize`` gives, if
anything, has 0.5 subtracted too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Model
from clbench.model import ToFloat
from clbench.nets.batch_norm import BatchNorm1d, BatchNorm2d
from clbench.nets.images import ChannelsLastImage, image_shape
from clbench.settings import AtLeast

KERNELS, STRIDES = (3, 5, 5, 3), (1, 2, 1, 1)
EPS = 1e-3
"""Of the variances in batch normalisation."""


class Histogram(nn.Module):
    """Averages over space of a map of types: ``(B, C, H, W)`` to ``(B, 3 types)``."""

    def __init__(self, channels: int, types: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, types, 1, bias=False)
        self.second = nn.Conv2d(channels, types, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Average the map, and its maxima over 5x5 and 3x3."""
        types = self.first(x).softmax(1) + self.second(x).softmax(1)
        wide, narrow = (F.max_pool2d(types, side, stride=1, padding=side // 2) for side in (5, 3))
        return torch.cat([each.mean((2, 3)) for each in (types, wide, narrow)], 1)


class Centred(nn.Module):
    """Subtracts 0.5 from values in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, ...)`` floats to the same shape."""
        return x - 0.5


@dataclass(frozen=True)
class TypeNet(Model):
    """Builds about a million parameters for images ``(H, W)`` or ``(C, H, W)``."""

    channels: Annotated[int, AtLeast(1)] = 128
    """Channels of the convolutions; 128 in the paper's code. 32 take a twelfth of the time."""
    types: Annotated[int, AtLeast(4)] = 64
    """Types that are told apart; 64 in the paper's code."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Raises:
            UsageError: the samples are no images.
        """
        channels, _, _ = image_shape("typenet", input_shape)
        layers: list[nn.Module] = []
        before = channels
        for side, stride in zip(KERNELS, STRIDES, strict=True):
            layers += [
                nn.Conv2d(before, self.channels, side, stride, side // 2, bias=False),
                nn.ELU(),
                BatchNorm2d(self.channels, EPS, affine=False),
            ]
            before = self.channels
        size = 3 * self.types
        dense: list[nn.Module] = []
        for a, b in pairwise((size, size, size // 2, size // 4)):
            dense += [nn.Linear(a, b), nn.ELU(), BatchNorm1d(b, EPS, affine=False)]
        network = nn.Sequential(
            ToFloat(scale),
            Centred(),
            ChannelsLastImage(channels),
            *layers,
            Histogram(self.channels, self.types),
            *dense,
            nn.Linear(size // 4, n_classes),
        )
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        return network
