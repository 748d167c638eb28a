"""A pretrained EfficientNet-Lite0, cut after a block, with a linear output layer, to be trained on.

The network of ``encoder=efficientnet_lite0`` (Tan & Le 2019, arXiv 1905.11946, in the "lite" form)
with its released ImageNet weights, from the extra ``clbench[encoders]``. Runs count as pretrained. Its
map is averaged to one pixel. ``model.tune=norm`` tunes its batch normalisation alone, with the
statistics, and the output layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from clbench import Model
from clbench.encoders._lite0 import lite0, network, released_weights
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class EfficientnetLite0(Model):
    """Takes images of 1 or 3 channels; 4.65 million parameters, 0.70 million up to block 10."""

    cut: Annotated[int, Within(0, 16)] = 10
    """Leave out what comes after this block: 0 to 15, or 16 for the head's 1,280 channels."""
    resolution: Annotated[int, AtLeast(1)] = 32
    """Resize images to this side in pixels; a multiple of 32 is best."""

    @property
    def starts_pretrained(self) -> bool:
        """It does."""
        return True

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Raises:
            UsageError: the samples do not fit, a package is missing, or the weights are not the
                released ones.
        """
        setting = "model=efficientnet_lite0"
        with torch.device("meta"):
            net = network(setting, self.resolution)
        net.load_state_dict(released_weights(setting), assign=True)
        settings = (self.cut, self.resolution, 1)
        # The weights were read to the CPU, whatever device is the default here.
        with torch.no_grad(), torch.device("cpu"):
            body = lite0("efficientnet_lite0", net, input_shape, scale, settings)
            width = body.eval()(torch.zeros(1, *input_shape)).shape[1]
        return nn.Sequential(*body.train(), nn.Linear(width, n_classes))
