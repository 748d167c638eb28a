"""Any classifier of the package torchvision, with its pretrained weights.

``encoder=torchvision:resnet18``. The latents are the input of the classifier, as in Ostapenko et
al. 2022 (arXiv 2205.00329). Mean, standard deviation and size are those of the weights. The whole
image is resized; torchvision resizes the shorter side and crops. torchvision downloads weights that
are not in torch's cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from clbench import Encoder, UsageError
from clbench.encoder import require
from clbench.encoders._images import ImageInput
from clbench.settings import AtLeast

CLASSIFIERS = ("fc", "classifier", "heads", "head")
"""torchvision's names of the layers after the pooled features."""


@dataclass(frozen=True)
class Torchvision(Encoder):
    """Takes images of 1 or 3 channels."""

    argument: ClassVar[str] = "model"
    packages: ClassVar[tuple[str, ...]] = ("torchvision",)

    model: str = ""
    """Name of the network (torchvision.models.list_models(torchvision.models))."""
    resolution: Annotated[int | None, AtLeast(1)] = None
    """Resize images to this side in pixels; null: that of the weights."""
    pretrained: bool = True
    """Load the pretrained weights; false: untrained weights, drawn from encoder.seed."""
    seed: int = 0
    """Seed of untrained weights."""

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """``(B, H, W)`` or ``(B, C, H, W)`` to pooled features.

        Raises:
            UsageError: torchvision is missing, does not know the network, or could not load its
                weights.
        """
        models: Any = require("torchvision.models", "torchvision", "encoder=torchvision")
        if not self.model:
            raise UsageError("encoder=torchvision needs a network: encoder=torchvision:NAME")
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(self.seed)
            try:
                weights = models.get_model_weights(self.model).DEFAULT
                net = models.get_model(self.model, weights=weights if self.pretrained else None)
            except Exception as error:  # errors of the name, the network or the file
                reason = (str(error).splitlines() or [""])[0][:200]
                raise UsageError(
                    f"encoder=torchvision:{self.model}: could not be loaded: "
                    f"{type(error).__name__}: {reason}"
                ) from error
        head = next((name for name in CLASSIFIERS if isinstance(_get(net, name), nn.Module)), None)
        if head is None:
            raise UsageError(f"encoder=torchvision:{self.model}: is not a classifier of images")
        setattr(net, head, nn.Identity())
        preset = weights.transforms()
        resolution = self.resolution or preset.crop_size[0]
        mode = "bicubic" if "bicubic" in str(preset.interpolation).lower() else "bilinear"
        mean, std = tuple(preset.mean), tuple(preset.std)
        image = ImageInput("torchvision", input_shape, scale, resolution, mean, std, mode)
        return nn.Sequential(image, net, nn.Flatten())


def _get(net: nn.Module, name: str) -> object:
    return getattr(net, name, None)
