"""Released weights: one safetensors file with a network's parameters and buffers.

Any safetensors file whose tensors have the network's names is accepted; ``clbench export`` writes one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets.frozen import constants, everything
from clbench.nets.parameters import output_parameters
from clbench.nets.tuning import added
from clbench.settings import switched_on
from clbench.util import tensor_files
from clbench.util.hashing import file_sha256
from clbench.util.tensor_files import shown

FORMAT = 1
KEY = "clbench.weights"
"""Format of the header's JSON value ``{format, ...}``; the other fields are informative."""


def pinned(setting: str, path: Path | None, sha256: str | None) -> str | None:
    """The hash of the file ``strategy.<setting>_path``, which is part of a run's identity.

    Raises:
        UsageError: the file is missing, or its hash is not ``strategy.<setting>_sha256``.
    """
    name = f"strategy.{setting}"
    return pinned_as(f"{name}_path", f"{name}_sha256", path, sha256)


def pinned_as(setting: str, hash_setting: str, path: Path | None, sha256: str | None) -> str | None:
    """The hash of the file that a setting names, where another setting may say the hash.

    Raises:
        UsageError: the file is missing, or has another hash.
    """
    if path is None:
        if sha256 is not None:
            raise UsageError(f"{hash_setting} is of a file: it goes with {setting}")
        return None
    if not path.is_file():
        raise UsageError(f"{setting}={path}: no such file")
    found = file_sha256(path)
    if sha256 not in (None, found):
        raise UsageError(
            f"{setting}={path}: has sha256 {found}, and {hash_setting} asks for {sha256}: "
            "it is another file; get the right one, or drop the hash"
        )
    return found


def describe(name: str, settings: Mapping[str, Any]) -> str:
    """A network in one line: the model plug-in's name and settings, without what is off."""
    said = [f"{key}={json.dumps(value)}" for key, value in switched_on(settings).items()]
    return " ".join([name, *said])


def save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write weights; the same tensors and words give the same bytes.

    Args:
        path: the safetensors file.
        tensors: by name, as in ``model.state_dict()``.
        about: a description for readers.
    """
    header = json.dumps({"format": FORMAT, **about}, sort_keys=True)
    tensor_files.write(path, tensors, {KEY: header})


def load(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file.

    Raises:
        UsageError: the file is damaged, or a tensor is no array of finite numbers.
    """
    return tensor_files.read(path)[0]


def initialised(
    build_model: Callable[[], nn.Module], path: Path, sha256: str | None
) -> Callable[[], nn.Module]:
    """Make a builder of networks that start from a file of this hash.

    Raises:
        UsageError: there is no hash, so the run's identity would not cover the file's content.
    """
    if sha256 is None:
        raise UsageError(
            "strategy.weights_sha256 is not filled in: the strategy's Config.__post_init__ must "
            "call super().__post_init__()"
        )

    def build() -> nn.Module:
        pinned("weights", path, sha256)
        model = build_model()
        initialise(model, path)
        return model

    return build


def initialise(model: nn.Module, path: Path, *, free_output: bool = True) -> None:
    """Set a network's parameters, and the buffers that the file has, in place, as ``fill`` does.

    Raises:
        UsageError: the file is damaged, or does not fit; nothing was changed.
    """
    fill(model, load(path), path, free_output=free_output)


@torch.no_grad()
def fill(
    model: nn.Module, given: Mapping[str, Tensor], path: Path, *, free_output: bool = True
) -> None:
    """Set a network's parameters, and the buffers that are given, in place.

    With ``free_output`` the output layer (the last ``nn.Linear``) keeps its fresh values where none
    are given for it, or those of another number of classes; it is then all or nothing. So it is with
    frozen weights, and with what tuning added.

    Args:
        model: the network.
        given: tensors by the network's names.
        path: where they are from, for errors.
        free_output: whether the output layer may stay fresh.

    Raises:
        UsageError: naming the first tensor that is missing, unknown, or of another shape or kind;
            nothing was changed.
    """
    wanted = everything(model)
    output = output_parameters(model)
    if free_output and any(_is_of_other_classes(given.get(n), wanted[n]) for n in output):
        given = {name: tensor for name, tensor in given.items() if name not in output}
        free = frozenset(output)
    else:
        free = frozenset()
    frozen = constants(model)
    for optional in (frozenset(frozen), added(model)):
        free |= frozenset() if optional & given.keys() else optional
    learnt = {name for name, _ in model.named_parameters()}
    for name in wanted:
        if name in learnt | frozen.keys() and name not in given and name not in free:
            raise UsageError(f"{path}: lacks tensor {shown(name)} of the model")
    for name, tensor in given.items():
        if name not in wanted:
            raise UsageError(f"{path}: tensor {shown(name)} is no part of the model")
        there = wanted[name]
        if tensor.shape != there.shape:
            raise UsageError(
                f"{path}: tensor {shown(name)} has shape {tuple(tensor.shape)}; the model needs "
                f"{tuple(there.shape)}"
            )
        if tensor.is_floating_point() != there.is_floating_point():
            raise UsageError(
                f"{path}: tensor {shown(name)} is {tensor.dtype}; the model needs {there.dtype}"
            )
        if not bool(torch.isfinite(tensor.to(there.dtype)).all()):
            raise UsageError(f"{path}: tensor {shown(name)} is too large for {there.dtype}")
    for name, tensor in given.items():
        wanted[name].copy_(tensor)


def _is_of_other_classes(given: Tensor | None, wanted: Tensor) -> bool:
    """Whether a parameter of the output layer is missing, or differs in its number of rows only."""
    if given is None:
        return True
    same_inputs = given.shape[1:] == wanted.shape[1:] and given.dim() == wanted.dim()
    return same_inputs and given.shape != wanted.shape
