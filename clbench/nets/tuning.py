"""Parameter-efficient tuning: which weights of a network are trained, and small ones that are added.

``tune`` freezes what is not tuned (``clbench.nets.frozen``) and adds low-rank updates, adapters or
prompts to the transformer blocks. The output layer is always tuned. Whatever holds a network can then
be trained by any strategy: the flat weights are those that are tuned. Nothing changes its name, so
files of weights fit a network however it is tuned, and an added part starts as the identity, prompts
excepted.

A transformer block is a module with the children ``attention`` or ``attn``, and ``mlp``, that maps
tokens ``(B, n, d)`` to the same shape; ours are, and timm's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from clbench.errors import UsageError
from clbench.nets.frozen import freeze
from clbench.nets.modes import NORMS
from clbench.nets.parameters import output_parameters

Tune = Literal["full", "head", "bias", "norm", "lora", "adapter", "prompt"]
ADAPTER_SCALE = 0.1
"""Factor of what an adapter adds, as in AdaptFormer."""
PROJECTIONS = ("query", "value", "qkv")
"""The layers that get a low-rank update; one that makes query, key and value at once gets one."""


@dataclass(frozen=True)
class Tuning:
    """What is tuned."""

    tune: Tune
    rank: int
    layers: tuple[int, ...]
    """Numbers of transformer blocks; empty: all."""
    length: int


class Lora(nn.Linear):
    """A linear layer and a low-rank update: ``x W^T + b + (x A^T) B^T``, W frozen, B = 0 at first.

    LoRA (Hu et al. 2022, ICLR, arXiv 2106.09685, eq. 3), with the factor alpha / r = 1.
    """

    added: ClassVar[tuple[str, ...]] = ("down", "up")
    down: nn.Parameter
    """A, ``(rank, in)``"""
    up: nn.Parameter
    """B, ``(out, rank)``"""

    def add(self, rank: int) -> None:
        """Add the update; A is drawn as torch draws the weights of a linear layer."""
        down = torch.empty(rank, self.in_features)
        self.down = nn.Parameter(nn.init.kaiming_uniform_(down, a=math.sqrt(5)))
        self.up = nn.Parameter(torch.zeros(self.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` to ``(..., out)``."""
        return super().forward(x) + F.linear(F.linear(x, self.down), self.up)


class Adapter(nn.Module):
    """Added to a block's MLP m: ``m(x) + s U relu(D x + d) + s u``, U and u 0 at first.

    The parallel form of AdaptFormer (Chen et al. 2022, NeurIPS, arXiv 2205.13535, eq. 3 and 4) with
    s = 0.1. Deviation: x is the MLP's own input, behind the block's layer norm.
    """

    added: ClassVar[tuple[str, ...]] = ("down", "down_bias", "up", "up_bias")
    down: nn.Parameter
    down_bias: nn.Parameter
    up: nn.Parameter
    up_bias: nn.Parameter

    def add(self, width: int, rank: int) -> None:
        """Add the adapter to an MLP of tokens of this width."""
        down = nn.init.kaiming_uniform_(torch.empty(rank, width), a=math.sqrt(5))
        self.down, self.down_bias = nn.Parameter(down), nn.Parameter(torch.zeros(rank))
        self.up = nn.Parameter(torch.zeros(width, rank))
        self.up_bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to the same shape."""
        kept: Tensor = super().forward(x)
        hidden = F.linear(x, self.down, self.down_bias).relu()
        return kept + ADAPTER_SCALE * F.linear(hidden, self.up, self.up_bias)


class Prompt(nn.Module):
    """Added to a block: learnt tokens that stand beside its input and are left out of its output.

    Deep visual prompt tuning (Jia et al. 2022, ECCV, arXiv 2203.12119, eq. 5), its prompts drawn
    uniformly as there: bounded by the root of 6 / (fan-in of a patch + d); here the fan-in is d.
    """

    added: ClassVar[tuple[str, ...]] = ("prompt",)
    prompt: nn.Parameter
    """``(1, length, d)``"""

    def add(self, width: int, length: int) -> None:
        """Add the prompts to a block of tokens of this width."""
        bound = math.sqrt(6 / (2 * width))
        self.prompt = nn.Parameter(torch.empty(1, length, width).uniform_(-bound, bound))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``(B, n, d)`` to the same shape."""
        beside = torch.cat([x, self.prompt.expand(len(x), -1, -1)], 1)
        tokens: Tensor = super().forward(beside, *args, **kwargs)
        return tokens[:, : x.shape[1]]


class Kept(nn.Module):
    """A batch normalisation that stays in evaluation mode: its statistics are frozen too."""

    def train(self, mode: bool = True) -> Kept:
        """Stay as it is."""
        return super().train(False)


def become(module: nn.Module, part: type[nn.Module]) -> Any:
    """Put a class in front of a module's own, in place; the names of its parameters stay."""
    own = type(module)
    module.__class__ = type(own.__name__, (part, own), {"__module__": own.__module__})
    return module


def transformer_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a transformer, the first one first; none in another network."""
    return [m for m in network.modules() if attention_of(m) and hasattr(m, "mlp")]


def attention_of(block: nn.Module) -> nn.Module | None:
    """The part of a block that mixes its tokens."""
    children = dict(block.named_children())
    return children.get("attention", children.get("attn"))


def tune(network: nn.Module, how: Tuning, model: str) -> nn.Module:
    """Add what is to be added to a network, and freeze what is not tuned, in place.

    Args:
        network: as it was built; what is added is drawn from torch's generator.
        how: what is tuned.
        model: its name, for errors.

    Raises:
        UsageError: it has no output layer, or not the blocks that are asked for.
    """
    if how.tune == "full":
        return network
    head = {*output_parameters(network)}
    if not head:
        raise UsageError(f"model={model}: model.tune={how.tune} needs a linear output layer")
    before = [name for name, _ in network.named_parameters()]
    tuned = head | {*_kinds(network).get(how.tune, ())}
    if how.tune in ("lora", "adapter", "prompt"):
        _extend(_chosen(network, how, model), how)
    statistics: list[str] = []
    if how.tune != "norm":
        for name, module in network.named_modules():
            if isinstance(module, _BatchNorm) and module.track_running_stats:
                become(module, Kept).eval()
                statistics += [f"{name}.{own}".lstrip(".") for own in (*module._buffers,)]
    freeze(network, [*(name for name in before if name not in tuned), *statistics])
    return network


def _kinds(network: nn.Module) -> dict[str, list[str]]:
    """The names of biases, and of the parameters of norm layers."""
    found: dict[str, list[str]] = {"bias": [], "norm": []}
    for name, module in network.named_modules():
        for own, _ in module.named_parameters(recurse=False):
            full = f"{name}.{own}".lstrip(".")
            if own == "bias":
                found["bias"].append(full)
            if isinstance(module, NORMS):
                found["norm"].append(full)
    return found


def _chosen(network: nn.Module, how: Tuning, model: str) -> list[nn.Module]:
    blocks = transformer_blocks(network)
    if not blocks:
        raise UsageError(
            f"model={model}: model.tune={how.tune} needs transformer blocks, and this network has "
            "none; set model.tune to head, bias or norm, or use model=vit_tiny"
        )
    layers = how.layers or range(len(blocks))
    if max(layers) >= len(blocks):
        raise UsageError(
            f"model.tune_layers={[*layers]}: model={model} has the blocks 0 to {len(blocks) - 1}"
        )
    return [blocks[number] for number in dict.fromkeys(layers)]


def _extend(blocks: Sequence[nn.Module], how: Tuning) -> None:
    """Add what ``how`` says to each block."""
    add: dict[str, Callable[[nn.Module], None]] = {
        "lora": lambda block: _add_lora(block, how.rank),
        "adapter": lambda block: become(_mlp(block), Adapter).add(_width(block), how.rank),
        "prompt": lambda block: become(block, Prompt).add(_width(block), how.length),
    }
    for block in blocks:
        add[how.tune](block)


def _add_lora(block: nn.Module, rank: int) -> None:
    attention = attention_of(block)
    assert attention is not None
    for name, layer in attention.named_children():
        if name in PROJECTIONS and isinstance(layer, nn.Linear):
            become(layer, Lora).add(rank)


def _mlp(block: nn.Module) -> nn.Module:
    return block.get_submodule("mlp")


def _width(block: nn.Module) -> int:
    """The width of a block's tokens: what the first linear layer of its MLP takes."""
    layers = (m for m in _mlp(block).modules() if isinstance(m, nn.Linear))
    return next(layers).in_features


def added(network: nn.Module) -> frozenset[str]:
    """The names of the parameters that tuning added."""
    return frozenset(
        f"{name}.{own}".lstrip(".")
        for name, module in network.named_modules()
        for own in getattr(module, "added", ())
    )
