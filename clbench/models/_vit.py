"""Vision transformers of ``clbench.nets.vit`` with a linear output layer."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import nn

from clbench import Model, UsageError
from clbench.model import ToFloat
from clbench.nets.images import ColourImage, image_shape
from clbench.nets.vit import Pool, Standardise, Vit, grid_of
from clbench.settings import AtLeast


@dataclass(frozen=True)
class VisionTransformer(Model):
    """Base of models that are vision transformers."""

    called: ClassVar[str]
    """Its name, for errors."""

    pooling: Literal["class", "mean", "both"] = "both"
    """What the output layer sees: the class token, the mean of the patches' tokens, or both joined."""
    resolution: Annotated[int | None, AtLeast(1)] = None
    """Resize images to squares of this side in pixels, a multiple of the patch's; null: the model's
    own."""

    @abstractmethod
    def transformer(self, side: int) -> tuple[Vit, int]:
        """Make the transformer for colour images of at least this side.

        Returns:
            The network, and the side that images are resized to.
        """

    @property
    @abstractmethod
    def width(self) -> int:
        """The features that the output layer takes."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Gray images are repeated in three channels.

        Raises:
            UsageError: the samples are no gray or colour images, or the resolution does not fit.
        """
        name = self.called
        channels, height, width = image_shape(name, input_shape)
        if channels not in (1, 3):
            raise UsageError(
                f"model={name} takes images of 1 or 3 channels, not samples of shape {input_shape}"
            )
        vit, side = self.transformer(self.resolution or max(height, width))
        layers = (ToFloat(scale), ColourImage(side), Standardise(), vit, Pool(self.pooling))
        return nn.Sequential(*layers, nn.Linear(self.width, n_classes))


def side_for(side: int, patch: int) -> int:
    """The next multiple of the patch's side."""
    return -(-side // patch) * patch


def fixed_grid(resolution: int, patch: int) -> int:
    """Patches in a row, where ``model.resolution`` must be a multiple of the patch's side."""
    return grid_of(resolution, patch, "model.resolution")
