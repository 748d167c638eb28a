"""A linear classifier on the flattened sample: multinomial logistic regression."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from clbench.model import Model, ToFloat


@dataclass(frozen=True)
class Linear(Model):
    """One linear layer; takes samples of any shape."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """``(B, *input_shape) -> (B, n_classes)`` with ``(d + 1) * n_classes`` parameters."""
        return nn.Sequential(
            ToFloat(scale), nn.Flatten(), nn.Linear(math.prod(input_shape), n_classes)
        )
