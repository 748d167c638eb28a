"""Frozen weights: constants of a network, which follow from its settings and are not remembered.

A frozen weight is a buffer that is in no state dict. So it is no part of the flat weights, has no
gradient, takes no room in checkpoints, and counts as ``frozen_bytes``. Nothing can be remembered in
it: who rebuilds a strategy from its state builds it anew from the settings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

NAMES = "frozen_names"
"""The attribute of a module that lists its frozen tensors."""


def freeze(network: nn.Module, names: Collection[str]) -> None:
    """Turn parameters and buffers of a network into frozen ones, in place; their names stay."""
    for name in names:
        holder, _, own = name.rpartition(".")
        module = network.get_submodule(holder)
        tensor: Tensor | None = module._parameters.pop(own, None)
        if tensor is None:
            tensor = module.get_buffer(own)
        module.register_buffer(own, tensor.detach(), persistent=False)
        setattr(module, NAMES, (*getattr(module, NAMES, ()), own))


def constants(network: nn.Module) -> dict[str, Tensor]:
    """The frozen tensors of a network by name, in the order of its modules."""
    return dict(_constants(network))


def _constants(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for prefix, module in network.named_modules():
        for own in getattr(module, NAMES, ()):
            yield f"{prefix}.{own}".lstrip("."), module.get_buffer(own)


def constant_bytes(network: nn.Module) -> int:
    """Count the bytes of the frozen tensors of a network."""
    return sum(tensor.nbytes for tensor in constants(network).values())


def everything(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network and its frozen tensors, by name."""
    state = {k: v for k, v in network.state_dict().items() if isinstance(v, Tensor)}
    return {**state, **constants(network)}


@torch.no_grad()
def copy_constants(network: nn.Module, source: nn.Module) -> None:
    """Give the frozen tensors of a network the values that ``source`` has under their names."""
    values = dict([*source.named_parameters(), *source.named_buffers()])
    for name, tensor in constants(network).items():
        tensor.copy_(values[name])
