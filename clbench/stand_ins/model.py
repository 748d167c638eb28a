"""A convolution and a linear layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from clbench import Model
from clbench.model import ToFloat


@dataclass(frozen=True)
class Plain(Model):
    """Builds the network for images of one channel, with even sides."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, 1, H, W) -> (B, n_classes)``."""
        _, height, width = input_shape
        return nn.Sequential(
            ToFloat(scale),
            nn.Conv2d(1, 4, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(height * width, n_classes),
        )
