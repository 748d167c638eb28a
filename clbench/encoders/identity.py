"""The raw sample, flattened and scaled to the unit range: latent strategies on pixels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from clbench import Encoder
from clbench.model import ToFloat


@dataclass(frozen=True)
class Identity(Encoder):
    """Takes samples of any shape; has no weights."""

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """``(B, *input_shape) -> (B, d)``, d the number of values of a sample."""
        return nn.Sequential(ToFloat(scale), nn.Flatten())
