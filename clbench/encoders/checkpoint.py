"""Your own weights for a network of clbench, from a safetensors or torch file.

``encoder=checkpoint:features.safetensors encoder.of=slim_resnet18`` reads the weights of a
whole model as in its ``state_dict()``; the last layer is cut off. Only tensors are unpickled.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clbench import UsageError
from clbench.encoders._headless import Headless


@dataclass(frozen=True)
class Checkpoint(Headless):
    """A trained network from a file."""

    argument: ClassVar[str] = "file"

    file: Path | None = None
    """A .safetensors file, or a state dict written by torch.save (read with weights_only)."""

    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """Map ``(B, *input_shape)`` to the input of the network's last layer.

        Raises:
            UsageError: the file is missing, is no state dict, or is of another network.
        """
        if self.file is None:
            raise UsageError("encoder=checkpoint needs a file: encoder=checkpoint:FILE")
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return self.headless("checkpoint", input_shape, scale, read_state(self.file))


def read_state(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, by name.

    Raises:
        UsageError: the file is missing, or does not hold a state dict.
    """
    path = file.expanduser()
    if not path.is_file():
        raise UsageError(f"encoder=checkpoint:{file.name}: no such file")
    try:
        state = _load(path)
    except Exception as error:  # the two readers raise various errors for a damaged file
        kind = "weights alone" if isinstance(error, pickle.UnpicklingError) else "a state dict"
        raise UsageError(f"{file.name}: does not hold {kind} ({type(error).__name__})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    tensors = isinstance(state, dict) and all(isinstance(v, Tensor) for v in state.values())
    if not state or not tensors:
        raise UsageError(f"{file.name}: is not a state dict of tensors by name")
    return dict(state)


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
