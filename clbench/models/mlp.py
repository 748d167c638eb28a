"""Multilayer perceptron: fully connected layers with ReLU on the flattened sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from torch import nn

from clbench import Model
from clbench.model import ToFloat
from clbench.nets.head import build_head
from clbench.settings import AtLeast


@dataclass(frozen=True)
class Mlp(Model):
    """Builds fully connected layers for samples of any shape."""

    hidden: Annotated[tuple[int, ...], AtLeast(1)] = (64, 64)
    """Widths of the hidden layers, first to last; empty for a linear classifier."""
    head: Literal["linear", "weight_norm"] = "linear"
    """Output layer: linear, or weight_norm (weights of length one for each class, no bias)."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``."""
        widths = (math.prod(input_shape), *self.hidden)
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(
            ToFloat(scale), nn.Flatten(), *layers, build_head(self.head, widths[-1], n_classes)
        )
