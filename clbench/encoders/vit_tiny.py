"""A seeded untrained vision transformer: the stand-in and the control of ``encoder=vit_s14``.

The network of ``model=vit_tiny`` (4 blocks of width 64, patches of 4 x 4) with fresh weights, which
depend on ``encoder.seed`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from clbench.encoders._vit import VitEncoder
from clbench.nets.vit import VitShape
from clbench.settings import AtLeast


@dataclass(frozen=True)
class VitTiny(VitEncoder):
    """Takes images of 1 or 3 channels."""

    shape: ClassVar[VitShape] = VitShape(width=64, depth=4, heads=4, patch=4)

    resolution: Annotated[int, AtLeast(1)] = 28
    """Resize images to this side in pixels, a multiple of 4."""
    seed: int = 0
    """Seed of the weights; the run's seed does not change them."""

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """Map ``(B, H, W)`` or ``(B, C, H, W)`` to ``(B, 64)``, or ``(B, 128)`` of both.

        Raises:
            UsageError: the samples do not fit, or a setting is out of range.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(self.seed)
            return self.encoder("vit_tiny", input_shape, scale, self.resolution)
