"""What a network makes of a sample before its output layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.errors import UsageError


def output_layer(model: nn.Module) -> nn.Linear:
    """The last linear layer of a network.

    Raises:
        UsageError: there is none.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UsageError(
            f"{type(model).__name__} has no linear layer to take features in front of; "
            "use another model, or another strategy.policy than herding"
        )
    return layers[-1]


@torch.no_grad()
def features(model: nn.Module, x: Tensor, batch_size: int = 512) -> Tensor:
    """``(n, *input_shape)`` raw samples to ``(n, d)``: the inputs of the output layer.

    The network is asked in evaluation mode, so that it learns nothing from it.
    """
    found: list[Tensor] = []
    was_training = model.training
    layer = output_layer(model)
    handle = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].flatten(1)))
    try:
        model.eval()
        for part in x.split(batch_size):
            model(part)
    finally:
        model.train(was_training)
        handle.remove()
    return torch.cat(found) if found else x.new_zeros(0, layer.in_features).to(layer.weight.dtype)
