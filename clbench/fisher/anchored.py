"""Fits a released Fisher, with the weights it was computed at, to a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.fisher import release
from clbench.nets import parameters, weights
from clbench.util import tensor_files
from clbench.util.tensor_files import shown


def fit(model: nn.Module, path: Path, weights_path: Path | None, exclude: str) -> dict[str, Tensor]:
    """The released Fisher of every trainable parameter, in order; zero for the excluded.

    Args:
        model: the model, which starts from the weights.
        path: the release.
        weights_path: the weights; their hash must be that in the release. None: the model's own, as
            of a pretrained network.
        exclude: parameters that stay free, as for ``clbench.nets.parameters.matching``; they may
            be missing in the release or have another shape.

    Returns:
        Per parameter a non-negative CPU tensor of its shape and dtype.

    Raises:
        UsageError: naming the first tensor that is missing, is no parameter of the model, or is of
            another shape; or the hashes, where the Fisher was taken at other weights.
    """
    released = release.load(path)
    free = parameters.matching(model, exclude, "strategy.fisher_exclude")
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found: dict[str, Tensor] = {}
    for name, parameter in wanted.items():
        if name in free:
            found[name] = torch.zeros(parameter.shape, dtype=parameter.dtype, device="cpu")
            continue
        if name not in released.fisher:
            raise UsageError(
                f"{path}: lacks tensor {shown(name)} of the model (strategy.fisher_exclude names "
                "what stays free)"
            )
        value = released.fisher[name]
        if value.shape != parameter.shape:
            raise UsageError(
                f"{path}: tensor {shown(name)} has shape {tuple(value.shape)}; the model needs "
                f"{tuple(parameter.shape)}"
            )
        found[name] = value.to(parameter.dtype)
        if not bool(torch.isfinite(found[name]).all()):
            raise UsageError(f"{path}: tensor {shown(name)} is too large for {parameter.dtype}")
    for name in released.fisher:
        if name not in wanted and name not in free:
            raise UsageError(f"{path}: tensor {shown(name)} is no trainable parameter of the model")
    if weights_path is None:
        own = {name: p.detach().cpu() for name, p in model.named_parameters()}
        taken_at(path, released, own, "the network as built (strategy.weights_path gives others)")
    else:
        taken_at(path, released, weights.load(weights_path), str(weights_path))
    return found


def taken_at(
    path: Path, released: release.Release, given: Mapping[str, Tensor], whose: str
) -> None:
    """Refuse a Fisher that was not taken at these weights.

    Raises:
        UsageError: naming the first tensor that cannot match, or the hashes.
    """
    found = weights_hash(released.fisher, given, whose)
    said = released.metadata.weights_sha256
    if said is None:
        raise UsageError(
            f"{path}: does not say at which weights it was taken; clbench fisher convert "
            f"{path.name} --weights FILE says it"
        )
    if found != said:
        raise UsageError(
            f"{path}: was taken at weights of sha256 {said[:12]}..., and {whose} has "
            f"{found[:12]}...: use the weights that it was released with"
        )


def weights_hash(fisher: Mapping[str, Tensor], given: Mapping[str, Tensor], whose: str) -> str:
    """The hash of the weights that a Fisher names.

    Raises:
        UsageError: naming the first tensor that the weights lack or have in another shape.
    """
    for name, value in fisher.items():
        if name not in given:
            raise UsageError(f"{whose}: lacks tensor {shown(name)} of the Fisher")
        if given[name].shape != value.shape:
            raise UsageError(
                f"{whose}: tensor {shown(name)} has shape {tuple(given[name].shape)}; the "
                f"Fisher has {tuple(value.shape)}"
            )
    return tensor_files.sha256({name: given[name] for name in fisher})
