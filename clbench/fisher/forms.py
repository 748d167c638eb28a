"""How the values of a released Fisher are stored: whole, in half the bytes, or in a quarter.

``float32`` is exact. ``bfloat16`` rounds each value to 8 bits of its fraction. ``8bit`` has a byte for
each value, and two float32 numbers for each block of 256: the smallest and the largest positive value
of the block, between which 255 levels lie evenly on a log scale; a byte of 0 is a value of 0. Fisher
values span many orders of magnitude, so levels on a linear scale would lose all small ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clbench.errors import UsageError
from clbench.util.tensor_files import shown

Form = Literal["float32", "bfloat16", "8bit"]
BLOCK = 256
LEVELS = 255
LOW, HIGH = "::low", "::high"
"""What follows a tensor's name in the names of the ends of its blocks."""
EIGHT_BITS = f"8 bits: {LEVELS} levels on a log scale in each block of {BLOCK}"
TINY = torch.finfo(torch.float32).tiny
"""Values below it are stored as 0 in 8 bits."""


def stored(fisher: Mapping[str, Tensor], form: Form) -> dict[str, Tensor]:
    """The tensors of a file, by name, for values that are finite and not negative."""
    if form == "float32":
        return dict(fisher)
    if form == "bfloat16":
        return {name: tensor.to(torch.bfloat16) for name, tensor in fisher.items()}
    found = {}
    for name, tensor in fisher.items():
        found[name], found[name + LOW], found[name + HIGH] = _coded(tensor)
    return found


def restored(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The values, float32, of a file in 8 bits.

    Raises:
        UsageError: the ends of blocks are missing, or do not fit; ``where`` names the file.
    """
    found = {}
    for name, code in tensors.items():
        if name.endswith((LOW, HIGH)):
            continue
        ends = tensors.get(name + LOW), tensors.get(name + HIGH)
        shape = (math.ceil(code.numel() / BLOCK),)
        if code.dtype != torch.uint8 or any(e is None or e.shape != shape for e in ends):
            raise UsageError(f"{where}: tensor {shown(name)} is not 8 bits with its blocks' ends")
        assert ends[0] is not None
        assert ends[1] is not None
        found[name] = _decoded(code, ends[0].double(), ends[1].double())
    return found


def error(exact: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Say how far values are from exact ones: the largest share of a value, and of the sum."""
    worst, sums = 0.0, [0.0, 0.0]
    for name, tensor in exact.items():
        a, b = tensor.double(), found[name].double()
        share = (b - a).abs() / a.clamp_min(TINY)
        worst = max(worst, float(torch.where(a >= TINY, share, 0).max()) if a.numel() else 0.0)
        sums = [sums[0] + float(a.sum()), sums[1] + float(b.sum())]
    trace = abs(sums[1] - sums[0]) / sums[0] if sums[0] else 0.0
    return f"at most {worst:.2%} of a value, {trace:.1e} of the trace"


def _blocks(flat: Tensor) -> Tensor:
    return F.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)


def _coded(tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of the tensor's shape, uint8, and the ends of its blocks, float32."""
    values = _blocks(tensor.detach().cpu().double().reshape(-1))
    is_positive = values >= TINY
    low = torch.where(is_positive, values, torch.inf).amin(1)
    low = torch.where(low.isfinite(), low, 1.0).float()
    high = torch.maximum(torch.where(is_positive, values, 0).amax(1).float(), low)
    span = (high.double() / low.double()).log()[:, None]
    place = (values.clamp_min(TINY) / low[:, None]).log() / span.clamp_min(1e-12)
    code = 1 + (place.clamp(0, 1) * (LEVELS - 1)).round()
    code = torch.where(is_positive, code, 0).to(torch.uint8)
    return code.view(-1)[: tensor.numel()].view(tensor.shape), low, high


def _decoded(code: Tensor, low: Tensor, high: Tensor) -> Tensor:
    levels = _blocks(code.reshape(-1)).double()
    values = low[:, None] * (high / low)[:, None] ** ((levels - 1) / (LEVELS - 1))
    values = torch.where(levels > 0, values, 0)
    return values.float().view(-1)[: code.numel()].view(code.shape)
