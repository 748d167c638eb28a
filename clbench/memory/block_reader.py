"""Cuts blocks out of an image-like memory: a spatial transformer of scale and shift alone.

Jaderberg et al. 2015, "Spatial Transformer Networks" (arXiv 1506.02025), eq. 3, with the affine map
``[[s, 0, dx], [0, s, dy]]``, as Kanerva++ reads its memory (Ramapuram, Wu, Kalousis 2021). Such a map
is separable, so the block is ``A_y M A_x^T`` with matrices of bilinear weights: no gather, the same
bits on every run, and gradients by memory and key. What lies outside of the memory is zero.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _weights(centre: Tensor, scale: Tensor, n_block: int, n_memory: int) -> Tensor:
    """``(T, n_block, n_memory)``: the weight of each memory cell in each cell of the block.

    Both axes run from -1 to 1 between the outer edges of the first and the last cell.
    """
    place = torch.arange(n_block, device=centre.device, dtype=centre.dtype)
    place = (2 * place + 1) / n_block - 1
    at = centre[:, None] + scale[:, None] * place  # in [-1, 1] units of the memory
    at = ((at + 1) * n_memory - 1) / 2  # in cells
    cell = torch.arange(n_memory, device=centre.device, dtype=centre.dtype)
    return (1 - (at[:, :, None] - cell).abs()).clamp_min(0)


def read_blocks(memory: Tensor, scale: Tensor, shift: Tensor, block: int) -> Tensor:
    """Read one block for each pointer: ``(T, C, block, block)``.

    A block with ``scale = block / H`` whose corner is at cell ``(i, j)`` of a square memory, that is
    ``shift = (2 j + block) / H - 1, (2 i + block) / H - 1``, is ``memory[:, i:i+block, j:j+block]``.

    Args:
        memory: ``(C, H, W)``.
        scale: ``(T,)``: the block's share of the memory's side.
        shift: ``(T, 2)``: the block's centre, (dx, dy), in [-1, 1] over the memory's columns and rows.
        block: cells on a side of the block.
    """
    rows = _weights(shift[:, 1], scale, block, memory.shape[1])
    columns = _weights(shift[:, 0], scale, block, memory.shape[2])
    return torch.einsum("tik,ckl,tjl->tcij", rows, memory, columns)


def pointer(key: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Turn keys into pointers whose blocks stay inside of the memory: scale ``(T,)``, shift ``(T, 2)``.

    The map is our choice; the paper's body was not at hand. A key of zeros reads the middle.

    Args:
        key: ``(T, 3)``: any numbers, normal ones by the prior.
        share: in (0, 2/3]: the scale of a key whose first number is 0. It can halve, or grow by half.
    """
    scale = share * (0.5 + key[:, 0].sigmoid())
    return scale, (1 - scale)[:, None] * key[:, 1:].tanh()
