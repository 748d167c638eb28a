"""The features of a network: the inputs of its output layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from clbench.nets.modes import evaluating
from clbench.nets.parameters import output_layer
from clbench.nets.precision import as_scores

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
                seen += [as_scores(last.flatten(1)) for last in given[-1:]]
                given.clear()
    finally:
        for hook in hooks:
            hook.remove()
    device = next((p.device for p in model.parameters()), None)
    return torch.cat(seen) if seen else torch.zeros(0, 0, device=device)


def scores_and_features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Map ``(B, *input_shape)`` to scores ``(B, C)`` and features ``(B, d)``, in one pass.

    Both have a gradient. The network has an output layer (``output_layer``), and its mode stays.
    """
    scores, z, _ = scores_features_maps(model, x, ())
    return scores, z


@torch.no_grad()
def features_at(model: nn.Module, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Map ``(B, *input_shape)`` to features ``(B, d)`` of a network with other parameters, by name.

    The network has an output layer (``output_layer``); it runs in evaluation mode and does not change.
    """
    layer = output_layer(model)
    assert layer is not None
    given: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        with evaluating(model):
            torch.func.functional_call(model, dict(parameters), (x,))
    finally:
        hook.remove()
    return as_scores(given[-1].flatten(1))


def scores_features_maps(
    model: nn.Module, x: Tensor, stages: Iterable[str]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Do as ``scores_and_features``, and return also what modules gave, by their names."""
    layer = output_layer(model)
    assert layer is not None
    given: list[Tensor] = []
    maps: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))]
    for name in stages:
        module = model.get_submodule(name)
        hooks.append(module.register_forward_hook(lambda _, __, made: maps.append(made)))
    try:
        scores: Tensor = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return scores, given[-1].flatten(1), maps


@torch.no_grad()
def spatial_stages(model: nn.Module, x: Tensor) -> tuple[str, ...]:
    """The stages of a convolutional network: of each size of its maps, the last direct child.

    What comes before the first parameter, and maps of one pixel, are none. A network without maps, or
    whose parts are not its direct children, has no stages.

    Args:
        model: the network; its state does not change.
        x: ``(B, *input_shape)`` any samples.
    """
    found: dict[torch.Size, str] = {}
    started: list[str] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: object, made: object) -> None:
            started.extend(part for part, _ in module.named_parameters())
            if not started or not isinstance(made, Tensor) or made.dim() != 4:
                return
            if made.shape[2] * made.shape[3] > 1:
                found[made.shape[2:]] = name

        return hook

    hooks = [child.register_forward_hook(note(name)) for name, child in model.named_children()]
    try:
        with evaluating(model):
            model(x)
    finally:
        for each in hooks:
            each.remove()
    return tuple(found.values())
