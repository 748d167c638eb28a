"""The features of a network: the inputs of its output layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from clbench.nets.modes import evaluating
from clbench.nets.parameters import output_layer

BATCH = 512
"""Samples that go through the network at once."""


@torch.no_grad()
def features(model: nn.Module, x: Tensor | Iterable[Tensor], batch_size: int = BATCH) -> Tensor:
    """Map ``(n, *input_shape)`` raw samples to ``(n, d)``, the inputs of the output layer.

    The samples are a tensor, which is cut into batches, or batches that are taken as they come.

    Returns shape ``(0, 0)`` if the network has no output layer. The network runs in evaluation mode, so
    that its state does not change.
    """
    layer = output_layer(model)
    given: list[Tensor] = []
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, x: given.append(x[0]))] if layer else []
    try:
        with evaluating(model):
            for part in x.split(batch_size) if isinstance(x, Tensor) else x:
                model(part)
                seen += [last.flatten(1) for last in given[-1:]]
                given.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(seen) if seen else torch.zeros(0, 0, device=next(model.parameters()).device)


def scores_and_features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Map ``(B, *input_shape)`` to scores ``(B, C)`` and features ``(B, d)``, in one pass.

    Both have a gradient. The network has an output layer (``output_layer``), and its mode stays.
    """
    layer = output_layer(model)
    assert layer is not None
    given: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        scores: Tensor = model(x)
    finally:
        hook.remove()
    return scores, given[-1].flatten(1)
