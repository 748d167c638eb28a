"""ResNet-18 of full width: 64 to 512 channels.

He et al. 2016 (arXiv 1512.03385): four stages of two basic blocks with 64, 128, 256 and 512 channels,
shortcuts by 1x1 convolution where the shape changes, batch normalisation, average pooling, linear
layer. Images whose smaller side is below 64 pixels get the stem that the literature uses for CIFAR: a
3x3 convolution without pooling (11,173,962 parameters for 10 classes). Larger ones get the stem of
the paper: 7x7 with stride 2, then 3x3 max pooling with stride 2 (11,689,512 for 1,000 classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from clbench import Model
from clbench.model import ToFloat
from clbench.nets.batch_norm import BatchNorm2d
from clbench.nets.head import build_head
from clbench.nets.images import ChannelsLastImage, image_shape
from clbench.nets.residual import (
    BasicBlock,
    conv3x3,
    convolved_shortcut,
    initialise_convolutions,
)

SMALL_SIDE = 64
"""Images with a smaller side below this get the small stem."""


@dataclass(frozen=True)
class Resnet18(Model):
    """Builds about 11 million parameters for images ``(H, W)`` or ``(C, H, W)``."""

    head: Literal["linear", "weight_norm", "cosine"] = "linear"
    """Output layer: linear, weight_norm (weights of length one for each class, no bias), or cosine
    (a learnt factor times the cosine of features and weights; the last block then has no ReLU)."""
    stem: Literal["auto", "small", "large"] = "auto"
    """First layers. small: a 3x3 convolution; large: 7x7 with stride 2, then pooling; auto: small for
    images whose smaller side is below 64 pixels."""

    def resolved(self, input_shape: tuple[int, ...]) -> dict[str, object]:
        """Say which stem the images get."""
        side = min(image_shape("resnet18", input_shape)[1:])
        return {"stem": "small" if side < SMALL_SIDE else "large"}

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Raises:
            UsageError: the samples are no images.
        """
        channels, height, width = image_shape("resnet18", input_shape)
        is_small = min(height, width) < SMALL_SIDE if self.stem == "auto" else self.stem == "small"
        first = [conv3x3(channels, 64)] if is_small else [_large(channels)]
        pooling = [] if is_small else [nn.MaxPool2d(3, 2, padding=1)]
        blocks: list[nn.Module] = []
        before = 64
        for stage in range(4):
            after = 64 * 2**stage
            stride = 1 if stage == 0 else 2
            shortcut = nn.Identity() if stage == 0 else convolved_shortcut(before, after, stride)
            rectified = self.head != "cosine" or stage < 3
            blocks += [
                BasicBlock(before, after, stride, shortcut),
                BasicBlock(after, after, 1, nn.Identity(), rectified=rectified),
            ]
            before = after
        return initialise_convolutions(
            nn.Sequential(
                ToFloat(scale),
                ChannelsLastImage(channels),
                *first,
                BatchNorm2d(64),
                nn.ReLU(),
                *pooling,
                *blocks,
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                build_head(self.head, before, n_classes),
            )
        )


def _large(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, 64, 7, 2, padding=3, bias=False)
