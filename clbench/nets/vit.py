"""A vision transformer in plain torch: tokens of image patches and a class token.

Dosovitskiy et al. 2021 (ICLR, arXiv 2010.11929) with layer norm in front of each part, exact GELU, and,
where it is asked for, the layer scale of Touvron et al. 2021 (arXiv 2103.17239), as DINOv2 has it
(Oquab et al. 2023, arXiv 2304.07193). Attention is written with products, so that its operations are
counted and per-sample gradients can be taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError

Pooling = Literal["class", "mean", "both"]
EPSILON = 1e-6
"""Of the layer norms."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, by which images are brought to what the networks take."""


@dataclass(frozen=True)
class VitShape:
    """The sizes of a vision transformer."""

    width: int
    depth: int
    heads: int
    patch: int
    """Side of a patch in pixels."""
    layer_scale: bool = False


class Attention(nn.Module):
    """Multi-head self-attention, with layers of their own for query, key and value."""

    prefix: tuple[Tensor, Tensor] | None = None
    """Keys and values ``(B or 1, length, d)`` that stand before those of the tokens, inside
    ``prompted``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, n, d)`` to the same shape."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        if self.prefix is not None:
            before = [part.expand(len(x), -1, -1) for part in self.prefix]
            key, value = torch.cat([before[0], key], 1), torch.cat([before[1], value], 1)
        query, key, value = (self._split(part) for part in (query, key, value))
        weights: Tensor = (query * self.scale @ key.transpose(-2, -1)).softmax(-1)
        mixed: Tensor = self.out((weights @ value).transpose(1, 2).flatten(2))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        """``(B, n, d)`` to ``(B, heads, n, d / heads)``."""
        parts: Tensor = x.unflatten(2, (self.heads, -1))
        return parts.transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with GELU between them; four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Scale(nn.Module):
    """Multiplies each feature by a learnt factor, 1 at first (layer scale)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to the same shape."""
        return x * self.factor


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and beside a shortcut."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        d = shape.width
        self.norm1, self.attention = nn.LayerNorm(d, EPSILON), Attention(d, shape.heads)
        self.norm2, self.mlp = nn.LayerNorm(d, EPSILON), Mlp(d)
        self.scale1: nn.Module = Scale(d) if shape.layer_scale else nn.Identity()
        self.scale2: nn.Module = Scale(d) if shape.layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, n, d)`` to the same shape."""
        x = x + self.scale1(self.attention(self.norm1(x)))
        out: Tensor = x + self.scale2(self.mlp(self.norm2(x)))
        return out


class Vit(nn.Module):
    """Images ``(B, 3, side, side)`` to tokens ``(B, 1 + grid^2, d)``, the class token first."""

    further: Tensor | None = None
    """Tokens ``(B or 1, n, d)`` that stand beside those of the image, inside ``prompted``. They are no
    part of what comes out."""

    def __init__(self, shape: VitShape, grid: int, depth: int | None = None) -> None:
        """Draw fresh weights from torch's generator: normal with deviation .02, biases 0.

        Args:
            shape: its sizes.
            grid: patches in a row; images have sides of ``grid * shape.patch`` pixels.
            depth: blocks, where it is cut off; the last layer norm follows.
        """
        super().__init__()
        d = shape.width
        self.class_token = nn.Parameter(torch.empty(1, 1, d))
        self.position = nn.Parameter(torch.empty(1, 1 + grid * grid, d))
        self.patches = nn.Conv2d(3, d, shape.patch, shape.patch)
        blocks = shape.depth if depth is None else depth
        self.blocks = nn.ModuleList(Block(shape) for _ in range(blocks))
        self.norm = nn.LayerNorm(d, EPSILON)
        for parameter in (self.class_token, self.position):
            nn.init.normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The tokens behind the last layer norm."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.position
        n = x.shape[1]
        if self.further is not None:
            x = torch.cat([x, self.further.expand(len(x), -1, -1)], 1)
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = self.norm(x[:, :n])
        return tokens


class Pool(nn.Module):
    """Tokens ``(B, n, d)`` to features: the class token, the mean of the others, or both joined."""

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, d)``, or ``(B, 2 d)`` of both."""
        first, mean = tokens[:, 0], tokens[:, 1:].mean(1)
        if self.pooling == "both":
            return torch.cat([first, mean], 1)
        return first if self.pooling == "class" else mean


class Standardise(nn.Module):
    """Colour images in the unit range less ImageNet's mean, over its deviation."""

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to the same shape."""
        return (x - self.mean) / self.std


def width_of(shape: VitShape, pooling: Pooling) -> int:
    """The number of features of a pooling."""
    return shape.width * (2 if pooling == "both" else 1)


def grid_of(resolution: int, patch: int, setting: str) -> int:
    """Patches in a row of an image of this side.

    Raises:
        UsageError: the side is no multiple of the patch's.
    """
    if resolution % patch:
        raise UsageError(f"{setting}={resolution} must be a multiple of {patch}, the patch's side")
    return resolution // patch


def resized(position: Tensor, grid: int) -> Tensor:
    """Position embeddings ``(1, 1 + g^2, d)`` for a grid of another side, bicubically."""
    side = round((position.shape[1] - 1) ** 0.5)
    if side == grid:
        return position
    first, rest = position[:, :1], position[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    rest = F.interpolate(rest, (grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([first, rest.flatten(2).transpose(1, 2)], 1)


@torch.no_grad()
def fill(vit: Vit, state: Mapping[str, Tensor], grid: int) -> None:
    """Give a network released weights; blocks that it does not have are left out."""
    wanted = vit.state_dict()
    for name, tensor in state.items():
        if name in wanted:
            wanted[name].copy_(resized(tensor, grid) if name == "position" else tensor)


@contextmanager
def prompted(
    vit: Vit, prefixes: Mapping[int, tuple[Tensor, Tensor]], further: Tensor | None = None
) -> Iterator[None]:
    """Let blocks attend, inside, to further keys and values, or to further tokens.

    Args:
        vit: the network.
        prefixes: keys and values ``(B or 1, length, d)`` by the number of the block (prefix tuning, Li
            & Liang 2021, arXiv 2101.00190).
        further: tokens ``(B or 1, n, d)`` beside those of the image (prompt tuning).
    """
    parts = {number: attention_in(vit, number) for number in prefixes}
    vit.further = further
    for number, pair in prefixes.items():
        parts[number].prefix = pair
    try:
        yield
    finally:
        vit.further = None
        for attention in parts.values():
            attention.prefix = None


def attention_in(vit: Vit, number: int) -> Attention:
    """The attention of a block."""
    return cast(Block, vit.blocks[number]).attention


def vit_in(network: nn.Module, who: str) -> Vit:
    """The vision transformer inside a network.

    Raises:
        UsageError: there is none; the error names ``who``.
    """
    found = next((m for m in network.modules() if isinstance(m, Vit)), None)
    if found is None:
        raise UsageError(f"{who} needs a vision transformer; set model=vit_tiny or model=vit_s14")
    return found
