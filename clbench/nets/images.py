"""Image shapes and memory layout for convolutional models."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError


def image_shape(model: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape ``(C, H, W)`` of samples of shape ``(H, W)`` (one channel) or ``(C, H, W)``.

    Raises:
        UsageError: the samples are not images; the message names ``model``.
    """
    if len(input_shape) not in (2, 3):
        raise UsageError(
            f"model={model} needs images (H, W) or (C, H, W), not samples of shape {input_shape}; "
            "use model=mlp"
        )
    channels, height, width = (1, *input_shape)[-3:]
    return channels, height, width


class ChannelsLastImage(nn.Module):
    """``(B, H, W)`` or ``(B, C, H, W)`` to ``(B, C, H, W)`` with the channels innermost in memory.

    The layers that follow keep the layout of their input, and CPU convolutions are faster in it;
    weights stay as they are, since an optimizer may own their storage. Written with ``permute``:
    ``contiguous(memory_format=...)`` does not change one-channel images and fails under
    ``torch.func.vmap``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Same values, any float dtype."""
        if self.channels == 1:
            x = x.reshape(x.shape[0], x.shape[-2], x.shape[-1], 1)
        else:
            x = x.permute(0, 2, 3, 1).contiguous()
        return x.permute(0, 3, 1, 2)


class ColourImage(nn.Module):
    """``(B, H, W)`` or ``(B, C, H, W)`` floats to ``(B, 3, H', W')``, H' = W' = ``side`` if given.

    A gray image is repeated in three channels. Resizing is bilinear with antialiasing and ignores the
    aspect ratio. Channels are innermost in memory, for faster CPU convolutions.
    """

    def __init__(self, side: int | None) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Each image by itself, in the dtype of the images."""
        if x.dim() == 3:
            x = x.unsqueeze(1)
        if self.side is not None and x.shape[-2:] != (self.side, self.side):
            size = (self.side, self.side)
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        return x.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
