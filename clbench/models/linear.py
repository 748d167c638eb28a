"""Linear classifier: multinomial logistic regression on the flattened sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from clbench import Model
from clbench.model import ToFloat
from clbench.nets.head import build_head


@dataclass(frozen=True)
class Linear(Model):
    """Builds one linear layer for samples of any shape."""

    head: Literal["linear", "weight_norm"] = "linear"
    """Output layer: linear, or weight_norm (weights of length one for each class, no bias)."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``, with d weights for each class."""
        return nn.Sequential(
            ToFloat(scale), nn.Flatten(), build_head(self.head, math.prod(input_shape), n_classes)
        )
