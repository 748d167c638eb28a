"""The small convolutional network of SCoLe (Lesort et al. 2023, PMLR 232) for gray images.

Two 5x5 convolutions (10 and 20 channels), each followed by max-pooling of 2 and ReLU, a hidden
layer of 50, and the output layer; no normalisation, no dropout. 21,840 parameters at 28x28, one
channel and 10 classes. Deviation: the reference fixes the flattened size at 320 (28x28); here it
depends on the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from clbench import Model, UsageError
from clbench.model import ToFloat
from clbench.nets.head import build_head
from clbench.nets.images import ChannelsLastImage, image_shape


@dataclass(frozen=True)
class ScoleCnn(Model):
    """Builds the network for images ``(H, W)`` or ``(C, H, W)`` of at least 16x16 pixels."""

    head: Literal["linear", "weight_norm"] = "linear"
    """Output layer: linear, or weight_norm (weights of length one for each class, no bias)."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Raises:
            UsageError: the samples are no images, or are too small for two convolutions and poolings.
        """
        channels, height, width = image_shape("scole_cnn", input_shape)
        rows, columns = (((side - 4) // 2 - 4) // 2 for side in (height, width))
        if rows < 1 or columns < 1:
            raise UsageError(
                f"model=scole_cnn needs images of at least 16x16, not {height}x{width}; "
                "use model=mlp"
            )
        return nn.Sequential(
            ToFloat(scale),
            ChannelsLastImage(channels),  # a training step takes 0.7 of the time
            nn.Conv2d(channels, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(10, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(20 * rows * columns, 50),
            nn.ReLU(),
            build_head(self.head, 50, n_classes),
        )
