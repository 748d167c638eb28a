"""A small vision transformer from scratch: 0.2 million parameters, patches of 4 x 4 pixels.

Dosovitskiy et al. 2021 (ICLR, arXiv 2010.11929) with 4 blocks of width 64 and 4 heads. It is the
stand-in of a pretrained one, so that what works on a transformer's blocks can be tried anywhere. Images
are brought to ImageNet's mean and deviation by the network itself: leave data.normalize at none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.models._vit import VisionTransformer, fixed_grid, side_for
from clbench.nets.vit import Vit, VitShape, width_of

SHAPE = VitShape(width=64, depth=4, heads=4, patch=4)


@dataclass(frozen=True)
class VitTiny(VisionTransformer):
    """Takes images of 1 or 3 channels; resolution null is the next multiple of 4."""

    called: ClassVar[str] = "vit_tiny"

    @property
    def width(self) -> int:
        """The features that the output layer takes."""
        return width_of(SHAPE, self.pooling)

    def transformer(self, side: int) -> tuple[Vit, int]:
        """Draw it from torch's generator."""
        side = side if self.resolution else side_for(side, SHAPE.patch)
        return Vit(SHAPE, fixed_grid(side, SHAPE.patch)), side
