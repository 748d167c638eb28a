"""Wide residual network, WRN-28-10 by default, for small images.

Zagoruyko & Komodakis 2016 (arXiv 1605.07146): a 3x3 stem of 16 channels, three groups of
(depth - 4) / 6 blocks with 16, 32 and 64 times ``width`` channels, normalisation and ReLU before
each convolution, dropout between the two convolutions of a block, average pooling over the whole
map, linear layer. WRN-28-10 has 36.5 million parameters (36,479,194 for 10 classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from clbench import Model, UsageError
from clbench.model import ToFloat
from clbench.nets.batch_norm import BatchNorm2d
from clbench.nets.head import build_head
from clbench.nets.images import ChannelsLastImage, image_shape
from clbench.nets.residual import conv3x3, initialise_convolutions
from clbench.settings import AtLeast, Within


class WideBlock(nn.Module):
    """Normalisation and ReLU, then two convolutions, added to the input.

    Where the shape changes, the shortcut is a 1x1 convolution of the normalised and rectified input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.before = nn.Sequential(BatchNorm2d(in_channels), nn.ReLU())
        self.residual = nn.Sequential(
            conv3x3(in_channels, out_channels, stride),
            BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            conv3x3(out_channels, out_channels),
        )
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            if in_channels != out_channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H', W')``, H' = ceil(H / stride)."""
        ready = self.before(x)
        out: Tensor = self.residual(ready)
        return out + (x if self.shortcut is None else self.shortcut(ready))


@dataclass(frozen=True)
class Wrn(Model):
    """Builds the network for images ``(H, W)`` or ``(C, H, W)``."""

    depth: Annotated[int, AtLeast(10)] = 28
    """Number of layers: 6 n + 4, with n blocks in each of the three groups."""
    width: Annotated[int, AtLeast(1)] = 10
    """Widening factor: the groups have 16, 32 and 64 times this number of channels."""
    dropout: Annotated[float, Within(0, 1, open_high=True)] = 0.0
    """Probability that dropout sets a value to 0, between the two convolutions of a block."""
    head: Literal["linear", "weight_norm", "cosine"] = "linear"
    """Output layer: linear, weight_norm (weights of length one for each class, no bias), or cosine
    (a learnt factor times the cosine of features and weights; features then have no last ReLU)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.depth - 4) % 6:
            below = self.depth - (self.depth - 4) % 6
            raise UsageError(
                f"model.depth={self.depth} must be 6 n + 4, such as {below} or {below + 6}"
            )

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Raises:
            UsageError: the samples are no images.
        """
        channels, _, _ = image_shape("wrn", input_shape)
        blocks: list[nn.Module] = []
        before = 16
        for group in range(3):
            after = 16 * 2**group * self.width
            for number in range((self.depth - 4) // 6):
                stride = 2 if group > 0 and number == 0 else 1
                blocks.append(WideBlock(before, after, stride, self.dropout))
                before = after
        return initialise_convolutions(
            nn.Sequential(
                ToFloat(scale),
                ChannelsLastImage(channels),
                conv3x3(channels, 16),
                *blocks,
                BatchNorm2d(before),
                *([] if self.head == "cosine" else [nn.ReLU()]),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                build_head(self.head, before, n_classes),
            )
        )
