"""The inputs of linear layers and convolutions, as vectors that their weights are multiplied with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets.modes import NORMS, evaluating
from clbench.nets.parameters import output_layer


@dataclass(frozen=True)
class InputLayer:
    """A layer whose outputs are ``W z``, with the bias as the weight of a further input 1."""

    name: str
    """Of the module in the network."""
    weight: int
    """The position of its weight among the trainable parameters."""
    bias: int | None
    """The position of its bias."""
    width: int
    """Values of z."""

    @property
    def buffer(self) -> str:
        """A name for a buffer of the layer."""
        return "space_" + self.name.replace(".", "_")

    def joint(self, parts: Sequence[Tensor]) -> Tensor:
        """Join the parts of weight and bias of a vector over the parameters: ``(out, width)``."""
        w = parts[self.weight].flatten(1)
        return w if self.bias is None else torch.cat([w, parts[self.bias][:, None]], 1)

    def split(self, joint: Tensor, parts: Sequence[Tensor]) -> None:
        """Write ``(out, width)`` back into the parts of weight and bias."""
        w = parts[self.weight]
        w.copy_(joint[:, : w[0].numel()].reshape(w.shape))
        if self.bias is not None:
            parts[self.bias].copy_(joint[:, -1])


def input_layers(
    model: nn.Module, who: str, output: bool
) -> tuple[list[InputLayer], tuple[int, ...]]:
    """Find the layers of a network.

    Args:
        model: the network.
        who: the strategy that asks, for errors.
        output: whether the output layer is one of them.

    Returns:
        The layers, and the positions of the parameters of norm layers.

    Raises:
        UsageError: other layers have trainable parameters.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    at = {id(p): number for number, p in enumerate(trainable)}
    found: list[InputLayer] = []
    norms: list[int] = []
    last = output_layer(model)
    for name, module in model.named_modules():
        own = {n: at[id(p)] for n, p in module.named_parameters(recurse=False) if id(p) in at}
        if not own or (module is last and not output):
            continue
        if isinstance(module, NORMS):
            norms += own.values()
        elif _is_plain(module) and "weight" in own:
            width = trainable[own["weight"]][0].numel() + ("bias" in own)
            found.append(InputLayer(name, own["weight"], own.get("bias"), width))
        else:
            raise UsageError(
                f"{who} needs a network of linear layers, plain convolutions and norms, and this one "
                f"has a {type(module).__name__}; use another model"
            )
    return found, tuple(norms)


def _is_plain(module: nn.Module) -> bool:
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == "zeros" and module.padding != "same"
    return type(module) is nn.Linear


def inputs(module: nn.Module, x: Tensor, has_bias: bool) -> Tensor:
    """What a layer multiplies its weights with: ``(n, width)``, n samples or positions of patches."""
    if isinstance(module, nn.Conv2d):
        padding = (0, 0) if isinstance(module.padding, str) else module.padding
        patches = F.unfold(x, module.kernel_size, module.dilation, padding, module.stride)
        x = patches.transpose(1, 2).flatten(0, 1)
    x = x.flatten(0, -2)
    return F.pad(x, (0, 1), value=1.0) if has_bias else x


@torch.no_grad()
def gram(
    model: nn.Module, layers: Sequence[InputLayer], samples: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Sum ``z z^T`` over samples for each layer, ``(width, width)`` by its buffer.

    The network runs in evaluation mode. Raw samples come by parts ``(B, *input_shape)``.
    """
    found: dict[str, Tensor] = {}

    def note(layer: InputLayer, module: nn.Module, x: Tensor) -> None:
        z = inputs(module, x, layer.bias is not None)
        sums = found.get(layer.buffer)
        found[layer.buffer] = z.T @ z if sums is None else sums + z.T @ z

    handles = [
        model.get_submodule(layer.name).register_forward_pre_hook(
            lambda module, args, layer=layer: note(layer, module, args[0])
        )
        for layer in layers
    ]
    try:
        with evaluating(model):
            for x in samples:
                model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def add_directions(space: Tensor, gram: Tensor, threshold: float) -> None:
    """Add to a projection ``(d, d)``, in place, what inputs with R R^T = ``gram`` lack.

    Gradient projection memory (Saha et al. 2021, arXiv 2103.09762, eq. 8 and 9): the fewest directions
    are added with which the space holds the share ``threshold`` of the inputs' squared length. What
    is within rounding of zero is no direction: where the space holds all of the inputs, what is left of
    them points anywhere, into the space too, and with it the sum would be no projection.
    """
    rest = torch.eye(len(space), dtype=space.dtype, device=space.device) - space
    # In single precision LAPACK gives up on a few in a thousand matrices of a single sample.
    squared, directions = torch.linalg.eigh((rest @ gram @ rest).double())
    squared, directions = squared.flip(0).clamp_min(0), directions.flip(1)
    total = gram.trace()
    rounding = 10 * len(space) ** 0.5 * torch.finfo(space.dtype).eps * total
    held = total - squared.sum() + F.pad(squared.cumsum(0), (1, 0))[:-1]  # before each direction
    needed = (held < threshold * total) & (squared > rounding)
    space.add_(((directions * needed) @ directions.T).to(space.dtype))
