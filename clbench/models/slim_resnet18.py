"""ResNet-18 with 20 instead of 64 base channels, for 32x32 colour images.

He et al. 2016 (arXiv 1512.03385) in the reduced form of GEM (Lopez-Paz & Ranzato 2017, arXiv
1706.08840): a 3x3 stem without pooling, four stages of two basic blocks with 20, 40, 80 and 160
channels, batch normalisation, average pooling, linear layer. Deviation: GEM averages windows of
4x4, which leaves more than one pixel on images above 32x32; here the average is over the whole
image. A training batch with one value per channel is normalised by the running statistics.

``norm=layer`` puts layer normalisation (Ba, Kiros & Hinton 2016, arXiv 1607.06450) in the place of each
batch normalisation: over all channels and pixels of a sample's map, as Wu & He 2018 (arXiv 1803.08494)
read it for convolutions (group normalisation with one group).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from clbench import Model
from clbench.model import ToFloat
from clbench.nets.batch_norm import BatchNorm2d
from clbench.nets.head import build_head
from clbench.nets.images import ChannelsLastImage, image_shape

BASE_CHANNELS = 20
Norm = Literal["batch", "layer", "none"]


def normalised(
    in_channels: int, out_channels: int, kernel: int, stride: int, norm: Norm
) -> list[nn.Module]:
    """A convolution and what normalises its output; it has a bias where nothing does."""
    plain = norm == "none"
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=plain)
    ]
    if norm == "batch":
        layers.append(BatchNorm2d(out_channels))
    elif norm == "layer":
        layers.append(nn.GroupNorm(1, out_channels))
    return layers


class BasicBlock(nn.Module):
    """Adds two 3x3 convolutions to a shortcut, which is a 1x1 convolution if the shape changes."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *normalised(in_channels, out_channels, 3, stride, norm),
            nn.ReLU(),
            *normalised(out_channels, out_channels, 3, 1, norm),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(*normalised(in_channels, out_channels, 1, stride, norm))
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H', W')``, H' = ceil(H / stride)."""
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out


@dataclass(frozen=True)
class SlimResnet18(Model):
    """Builds about 1.1 million parameters for images ``(H, W)`` or ``(C, H, W)``."""

    head: Literal["linear", "weight_norm"] = "linear"
    """Output layer: linear, or weight_norm (weights of length one for each class, no bias)."""
    norm: Literal["batch", "layer", "none"] = "batch"
    """What normalises the output of each convolution. batch: a channel, over the batch; layer: a
    sample, over all channels and pixels, with a factor and a shift for each channel; none: nothing, and
    convolutions have biases."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Raises:
            UsageError: the samples are no images.
        """
        channels, _, _ = image_shape("slim_resnet18", input_shape)
        blocks: list[nn.Module] = []
        width = BASE_CHANNELS
        for stage in range(4):
            out = BASE_CHANNELS * 2**stage
            stride = 1 if stage == 0 else 2
            blocks += [
                BasicBlock(width, out, stride, self.norm),
                BasicBlock(out, out, 1, self.norm),
            ]
            width = out
        return nn.Sequential(
            ToFloat(scale),
            # A training step takes 0.7 of the time; in return the CPU kernel of batch
            # normalisation sums less exactly (scores: 1e-5 instead of 1e-6 relative, float32).
            ChannelsLastImage(channels),
            *normalised(channels, BASE_CHANNELS, 3, 1, self.norm),
            nn.ReLU(),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            build_head(self.head, width, n_classes),
        )
