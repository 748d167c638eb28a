"""Parts of residual networks for images (He et al. 2016, arXiv 1512.03385)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from clbench.nets.batch_norm import BatchNorm2d


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution padded with zeros, without bias: ``(B, C, H, W)`` to ``ceil(H / stride)``."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class PaddedShortcut(nn.Module):
    """Takes every ``stride``-th pixel and appends channels of zeros: option A of He et al. 2016.

    It has no parameters. All zeros come after the channels of the input, as in PyCIL's CIFAR
    ResNet; other codes put half of them before. The two differ in the order of channels only.
    """

    def __init__(self, stride: int, extra_channels: int) -> None:
        super().__init__()
        self.stride, self.extra_channels = stride, extra_channels

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C + extra_channels, ceil(H / stride), ceil(W / stride))``."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_channels))


def convolved_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """A 1x1 convolution with batch normalisation: option B of He et al. 2016."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Adds two 3x3 convolutions to a shortcut; a ReLU follows the sum unless ``rectified`` is off."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        shortcut: nn.Module,
        *,
        rectified: bool = True,
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv3x3(in_channels, out_channels, stride),
            BatchNorm2d(out_channels),
            nn.ReLU(),
            conv3x3(out_channels, out_channels),
            BatchNorm2d(out_channels),
        )
        self.shortcut = shortcut
        self.activation: nn.Module = nn.ReLU() if rectified else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H', W')``, H' = ceil(H / stride)."""
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out


def initialise_convolutions(network: nn.Module) -> nn.Module:
    """Draw the weights of every convolution again: normal, variance 2 / (k * k * out_channels).

    He et al. 2015 (arXiv 1502.01852), by the outputs, as torchvision and PyCIL have it.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
