"""Any network of the package timm (PyTorch Image Models), with its pretrained weights.

``encoder=timm:resnet18.a1_in1k``. The latents are the input of the last layer (pooled features, or the
class token), as in Ostapenko et al. 2022 (arXiv 2205.00329). Size, mean and standard deviation are
those of the weights. The whole image is resized; timm resizes the shorter side and crops. timm
downloads weights that are not in its cache.
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


@dataclass(frozen=True)
class Timm(Encoder):
    """Takes images of 1 or 3 channels."""

    argument: ClassVar[str] = "model"
    packages: ClassVar[tuple[str, ...]] = ("timm",)

    model: str = ""
    """Name of the network and, after a dot, of its weights (timm.list_models(pretrained=True))."""
    resolution: Annotated[int | None, AtLeast(1)] = None
    """Resize images to this side in pixels; null: that of the weights."""
    pretrained: bool = True
    """Load the pretrained weights; false: untrained weights, drawn from encoder.seed."""
    seed: int = 0
    """Seed of untrained weights."""

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """``(B, H, W)`` or ``(B, C, H, W)`` to pooled features.

        Raises:
            UsageError: timm is missing, does not know the network, or could not load its weights.
        """
        timm: Any = require("timm", "timm", "encoder=timm")
        if not self.model:
            raise UsageError("encoder=timm needs a network: encoder=timm:NAME")
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(self.seed)
            try:
                net = timm.create_model(self.model, pretrained=self.pretrained, num_classes=0)
            except Exception as error:  # errors of the network, the hub or the file
                reason = (str(error).splitlines() or [""])[0][:200]
                raise UsageError(
                    f"encoder=timm:{self.model}: could not be loaded: {type(error).__name__}: {reason}"
                ) from error
        data = timm.data.resolve_model_data_config(net)
        resolution = self.resolution or data["input_size"][-1]
        mode = "bicubic" if data["interpolation"] == "bicubic" else "bilinear"
        mean, std = tuple(data["mean"]), tuple(data["std"])
        image = ImageInput("timm", input_shape, scale, resolution, mean, std, mode)
        return nn.Sequential(image, net, nn.Flatten())
