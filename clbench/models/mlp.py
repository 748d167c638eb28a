"""Multilayer perceptron: fully connected layers with ReLU on the flattened sample.

Layer normalisation is that of Ba, Kiros & Hinton 2016 (arXiv 1607.06450), of the sums before the ReLU.
"""

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
    norm: Literal["none", "layer"] = "none"
    """layer: before its ReLU, a hidden layer's output is normalised over the units of each sample, with
    a factor and a shift for each unit (layer normalisation); none: it is not."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``."""
        widths = (math.prod(input_shape), *self.hidden)
        layers = [layer for a, b in pairwise(widths) for layer in self._hidden(a, b)]
        return nn.Sequential(
            ToFloat(scale), nn.Flatten(), *layers, build_head(self.head, widths[-1], n_classes)
        )

    def _hidden(self, before: int, units: int) -> list[nn.Module]:
        norm = [nn.LayerNorm(units)] if self.norm == "layer" else []
        return [nn.Linear(before, units), *norm, nn.ReLU()]
