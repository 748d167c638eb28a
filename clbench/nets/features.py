"""The features of a network: the inputs of its output layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.nets.modes import evaluating
from clbench.nets.parameters import output_layer


@torch.no_grad()
def features(model: nn.Module, x: Tensor, batch_size: int = 512) -> Tensor:
    """Map ``(n, *input_shape)`` raw samples to ``(n, d)``, the inputs of the output layer.

    Returns shape ``(0, 0)`` if the network has no output layer. The network runs in evaluation mode, so
    that its state does not change.
    """
    layer = output_layer(model)
    given: list[Tensor] = []
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, x: given.append(x[0]))] if layer else []
    try:
        with evaluating(model):
            for part in x.split(batch_size):
                model(part)
                seen += [last.flatten(1) for last in given[-1:]]
                given.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(seen) if seen else x.new_zeros(0, 0)
