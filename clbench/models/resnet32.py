"""ResNet-32 for CIFAR: three stages of five blocks, 16 to 64 channels.

He et al. 2016 (arXiv 1512.03385), section 4.2: a 3x3 stem, three stages of five basic blocks with 16,
32 and 64 channels, shortcuts without parameters (option A: zeros for the new channels), batch
normalisation, average pooling over the whole map, linear layer. 464,154 parameters for 10 classes.
It is the network of most tables of class-incremental learning; the zeros follow the channels, as in
PyCIL. Its 64 features have a ReLU, but for the cosine head.
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
from clbench.nets.residual import BasicBlock, PaddedShortcut, conv3x3, initialise_convolutions

BLOCKS = 5
WIDTHS = (16, 32, 64)


@dataclass(frozen=True)
class Resnet32(Model):
    """Builds about 0.46 million parameters for images ``(H, W)`` or ``(C, H, W)``."""

    head: Literal["linear", "weight_norm", "cosine"] = "linear"
    """Output layer: linear, weight_norm (weights of length one for each class, no bias), or cosine
    (a learnt factor times the cosine of features and weights; the last block then has no ReLU)."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Raises:
            UsageError: the samples are no images.
        """
        channels, _, _ = image_shape("resnet32", input_shape)
        blocks: list[nn.Module] = []
        before = WIDTHS[0]
        for stage, after in enumerate(WIDTHS):
            for number in range(BLOCKS):
                stride = 2 if stage > 0 and number == 0 else 1
                shortcut = nn.Identity() if stride == 1 else PaddedShortcut(2, after - before)
                is_last = (stage, number) == (len(WIDTHS) - 1, BLOCKS - 1)
                rectified = self.head != "cosine" or not is_last
                blocks.append(BasicBlock(before, after, stride, shortcut, rectified=rectified))
                before = after
        return initialise_convolutions(
            nn.Sequential(
                ToFloat(scale),
                ChannelsLastImage(channels),
                conv3x3(channels, WIDTHS[0]),
                BatchNorm2d(WIDTHS[0]),
                nn.ReLU(),
                *blocks,
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                build_head(self.head, before, n_classes),
            )
        )
