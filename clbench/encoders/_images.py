"""Converts raw samples to the input that pretrained networks expect."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import UsageError


class ImageInput(nn.Module):
    """``(B, H, W)`` or ``(B, C, H, W)`` raw to ``(B, 3, resolution, resolution)`` normalised float32.

    A gray image is repeated in three channels. Resizing is bilinear with antialiasing and ignores the
    aspect ratio; then ``(unit - mean) / std`` with ``unit = scale * raw``. Channels are innermost in
    memory, for faster CPU convolutions.
    """

    def __init__(
        self,
        encoder: str,
        input_shape: tuple[int, ...],
        scale: float,
        resolution: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        channels = 1 if len(input_shape) == 2 else input_shape[0]
        if len(input_shape) not in (2, 3) or channels not in (1, 3):
            raise UsageError(
                f"encoder={encoder} takes images of 1 or 3 channels, (H, W) or (C, H, W), not "
                f"samples of shape {input_shape}; choose other data or encoder=identity"
            )
        self.resolution, self.mode = resolution, mode
        # Settings, not weights: not persistent, so that the hash of the weights excludes them.
        for name, values in (("mean", mean), ("std", std)):
            column = torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, column, persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self.scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Deterministic, each image by itself."""
        x = x.to(self.mean.dtype) * self.scale
        if x.dim() == 3:
            x = x.unsqueeze(1)
        size = (self.resolution, self.resolution)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size, mode=self.mode, align_corners=False, antialias=True)
        x = (x.expand(-1, 3, -1, -1) - self.mean) / self.std
        # Channels innermost, written so that it works under torch.func.vmap.
        return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
