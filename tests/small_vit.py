"""A transformer of two narrow blocks, on which the contract suites try methods that need one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.models._vit import VisionTransformer, fixed_grid, side_for
from clbench.nets.vit import Vit, VitShape, width_of

SHAPE = VitShape(width=32, depth=2, heads=2, patch=4)


@dataclass(frozen=True)
class SmallVit(VisionTransformer):
    """Like ``vit_tiny``, at a fifth of its cost."""

    called: ClassVar[str] = "small_vit"

    @property
    def width(self) -> int:
        return width_of(SHAPE, self.pooling)

    def transformer(self, side: int) -> tuple[Vit, int]:
        side = side if self.resolution else side_for(side, SHAPE.patch)
        return Vit(SHAPE, fixed_grid(side, SHAPE.patch)), side
