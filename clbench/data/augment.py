"""Training-time augmentation of a batch, on its device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clbench.errors import UsageError

NAMES = ("none", "crop_flip")


def check_augment(name: str, input_shape: tuple[int, ...]) -> None:
    """Check before training that ``augment`` can be applied.

    Raises:
        UsageError: the name is unknown, or the samples are vectors, which cannot be cropped.
    """
    if name not in NAMES:
        raise UsageError(f"data.augment={name} is unknown; one of {', '.join(NAMES)}")
    if name == "crop_flip" and len(input_shape) < 2:
        raise UsageError(
            f"data.augment=crop_flip needs images, not samples of shape {input_shape}; "
            "set data.augment=none"
        )


def augment(name: str, x: Tensor) -> Tensor:
    """Augment ``(B, H, W)`` or ``(B, C, H, W)``, keeping shape and dtype; ``none`` returns ``x``.

    ``crop_flip`` pads each side with zeros by an eighth of its length, crops at a random place and
    mirrors left-right with probability 1/2, for each sample on its own (He et al. 2016, section
    4.2, which pads 32 pixels by 4). Random numbers come from torch's global generator of the
    device; nothing is read back to the host.
    """
    if name == "none":
        return x
    height, width = x.shape[-2:]
    pad_rows, pad_columns = height // 8, width // 8
    images = x.unsqueeze(1) if x.dim() == 3 else x
    padded = F.pad(images, (pad_columns, pad_columns, pad_rows, pad_rows))
    rows = _window(len(x), height, pad_rows, x.device)
    columns = _window(len(x), width, pad_columns, x.device)
    flip = torch.randint(2, (len(x), 1), device=x.device) == 1
    columns = torch.where(flip, columns.flip(1), columns)
    pixels = rows.unsqueeze(2) * padded.shape[-1] + columns.unsqueeze(1)
    pixels = pixels.flatten(1).unsqueeze(1).expand(-1, images.shape[1], -1)
    return padded.flatten(2).gather(2, pixels).reshape(x.shape)


def _window(n: int, side: int, pad: int, device: torch.device) -> Tensor:
    """``(n, side)``: consecutive positions in the padded side, starting anywhere in 0..2 * pad."""
    start = torch.randint(2 * pad + 1, (n, 1), device=device)
    return start + torch.arange(side, device=device)
