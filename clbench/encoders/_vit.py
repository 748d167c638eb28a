"""Vision transformers of ``clbench.nets.vit`` as encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from clbench import Encoder, UsageError
from clbench.encoders._images import ImageInput
from clbench.nets.vit import MEAN, STD, Pool, Vit, VitShape, fill, grid_of
from clbench.settings import AtLeast


@dataclass(frozen=True)
class VitEncoder(Encoder):
    """Base of encoders that are vision transformers."""

    shape: ClassVar[VitShape]

    layer: Annotated[int | None, AtLeast(1)] = None
    """Take the tokens behind this block, counted from 1, and the last layer norm; null: the last."""
    pooling: Literal["class", "mean", "both"] = "both"
    """The latents: the class token, the mean of the patches' tokens, or both joined."""

    def weights(self) -> dict[str, torch.Tensor]:
        """The released weights; empty: they are drawn from torch's generator."""
        return {}

    def encoder(
        self, name: str, input_shape: tuple[int, ...], scale: float, resolution: int
    ) -> nn.Module:
        """Map ``(B, H, W)`` or ``(B, C, H, W)`` to ``(B, d)``, or ``(B, 2 d)`` of both.

        Raises:
            UsageError: the samples do not fit, or a setting is out of range.
        """
        depth = self.shape.depth if self.layer is None else self.layer
        if depth > self.shape.depth:
            raise UsageError(f"encoder.layer={depth}: encoder={name} has {self.shape.depth} blocks")
        grid = grid_of(resolution, self.shape.patch, "encoder.resolution")
        image = ImageInput(name, input_shape, scale, resolution, MEAN, STD)
        vit = Vit(self.shape, grid, depth)
        fill(vit, self.weights(), grid)
        return nn.Sequential(image, vit, Pool(self.pooling))
