"""Chains of linear and convolution layers, and the weights to and from their hidden units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets.frozen import constants


@dataclass(frozen=True)
class HiddenLayer:
    """Locates the weights to and from a layer of hidden units."""

    of: slice
    """The layer's units among those of all hidden layers."""
    parameter: int
    """The position of its weight among the model's parameters. Its bias, the next layer's weight and
    that layer's bias follow."""
    reader: int
    """The place in the model of the layer that reads its units."""

    def per_unit(self, read: Tensor) -> Tensor:
        """View what the next layer reads, ``(B, ...)``, as ``(B, units, n)``, n positions of a unit."""
        flat = read.flatten(1)
        return flat.view(len(flat), self.units, -1)

    @property
    def units(self) -> int:
        """The number of units."""
        return int(self.of.stop - self.of.start)

    def parts(self, parameters: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return views: w_in ``(units, fan_in)``, b ``(units,)``, w_out ``(out, units, n)``, next b.

        n is the number of positions of an image or of a convolution's kernel.
        """
        w_in, bias, w_out, next_bias = parameters[self.parameter : self.parameter + 4]
        return w_in.flatten(1), bias, w_out.view(len(w_out), self.units, -1), next_bias


def hidden_layers(model: nn.Module, who: str) -> list[HiddenLayer]:
    """Find the hidden layers of a chain of linear and convolution layers.

    Args:
        model: the network.
        who: the strategy that asks, for errors.

    Raises:
        UsageError: the model is no such chain, a layer has no bias, or there is no hidden layer.
    """

    def refuse(what: str) -> NoReturn:
        raise UsageError(
            f"{who} needs a chain of linear and convolution layers with biases, and "
            f"this model {what}; use model=mlp or model=scole_cnn with model.head=linear (and, of "
            "mlp, model.norm=none)"
        )

    if not isinstance(model, nn.Sequential):
        refuse("is no torch.nn.Sequential")
    if constants(model) or not all(p.requires_grad for p in model.parameters()):
        refuse("has frozen weights")
    chain: list[tuple[int, nn.Linear | nn.Conv2d]] = []
    for place, module in enumerate(model):
        if type(module) in (nn.Linear, nn.Conv2d) and getattr(module, "groups", 1) == 1:
            assert isinstance(module, nn.Linear | nn.Conv2d)
            if module.bias is None:
                refuse(f"has none in layer {place}")
            chain.append((place, module))
        elif any(True for _ in module.parameters()):
            refuse(f"has a {type(module).__name__}")
    found, start = [], 0
    for number, ((_, layer), (place, reader)) in enumerate(pairwise(chain)):
        units = len(layer.weight)
        if reader.weight.shape[1] % units:
            refuse(f"mixes the units before layer {place}")
        found.append(HiddenLayer(slice(start, start + units), 2 * number, place))
        start += units
    if not found:
        refuse("has no hidden units")
    return found


@contextmanager
def reading(model: nn.Module, layers: Sequence[HiddenLayer]) -> Iterator[dict[int, Tensor]]:
    """Note, inside the context, the inputs of layers after hidden ones, by place in the model."""
    read: dict[int, Tensor] = {}

    def note(place: int, x: Tensor) -> None:
        read[place] = x.detach()

    handles = [
        model.get_submodule(str(layer.reader)).register_forward_pre_hook(
            lambda _, args, place=layer.reader: note(place, args[0])
        )
        for layer in layers
    ]
    try:
        yield read
    finally:
        for handle in handles:
            handle.remove()
