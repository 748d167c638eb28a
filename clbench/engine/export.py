"""Reads the network of a run from its checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from clbench.engine import checkpoint
from clbench.errors import UsageError
from clbench.nets import weights
from clbench.results.record import Record
from clbench.util.tensor_files import read_dictionary

NETWORK = "model."
"""Prefix of the network in the state of a ``GradientStrategy``."""


def network_of(source: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the parameters and buffers of a network, with a description.

    Args:
        source: a run's folder or its checkpoint, or a file with a flat dictionary of tensors
            (``.safetensors``, ``.npz``, or of ``torch.save``).

    Returns:
        Tensors by their names in the network, on the CPU; and ``architecture`` and ``trained_by`` in
        words, empty if there is no record.

    Raises:
        UsageError: it is none of these, or the strategy has no network named ``model``.
        ClbenchError: the checkpoint or the record is damaged.
    """
    if source.is_file() and source.name != "checkpoint":
        return read_dictionary(source), {}
    folder = source.parent if source.is_file() else source
    if not (folder / "checkpoint").is_file():
        raise UsageError(
            f"{source}: is neither a run's folder with a checkpoint, such as "
            "runs/scole/ewc-1a2b3c4d/seed0, nor a dictionary of tensors (.pt, .npz)"
        )
    _, state = checkpoint.load(folder / "checkpoint", None, torch.device("cpu"))
    found = {
        name.removeprefix(NETWORK): value
        for name, value in state.items()
        if name.startswith(NETWORK) and isinstance(value, Tensor)
    }
    if not found:
        raise UsageError(f"{folder}: its strategy has no network named 'model'")
    about = {}
    if (folder / "record.json").is_file():
        record = Record.load(folder / "record.json")
        names = [f"{g}={record.config[g]['name']}" for g in ("scenario", "strategy", "data")]
        about = {
            "architecture": weights.describe(
                record.config["model"]["name"], record.config["model"]
            ),
            "trained_by": " ".join([*names, f"seed={record.seed}"]),
        }
    return found, about
