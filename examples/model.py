"""A network with one hidden layer whose values are normalised."""

import math
from dataclasses import dataclass
from typing import Annotated

from torch import nn

from clbench import Model
from clbench.model import ToFloat
from clbench.settings import AtLeast


@dataclass(frozen=True)
class Normalised(Model):
    """Builds linear, layer norm, ReLU, linear, for samples of any shape."""

    width: Annotated[int, AtLeast(1)] = 64
    """Units of the hidden layer."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build it; the first layer turns raw values (uint8 for images) into floats."""
        return nn.Sequential(
            ToFloat(scale),
            nn.Flatten(),
            nn.Linear(math.prod(input_shape), self.width),
            nn.LayerNorm(self.width),
            nn.ReLU(),
            nn.Linear(self.width, n_classes),
        )
