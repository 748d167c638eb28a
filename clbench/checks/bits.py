"""The bits of what a plug-in remembers and gives: equal hashes say equal type, shape and bits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def leaves(state: Any, name: str = "") -> dict[str, Any]:
    """Every leaf of a nested state under its path."""
    if isinstance(state, dict):
        items = [(str(key), value) for key, value in state.items()]
    elif isinstance(state, list | tuple):
        items = [(str(at), value) for at, value in enumerate(state)]
    else:
        return {name: state}
    found: dict[str, Any] = {}
    for key, value in items:
        found.update(leaves(value, f"{name}.{key}" if name else key))
    return found


def bits(state: Any) -> dict[str, str]:
    """A hash of every leaf of a nested state: equal iff type, shape and bits are."""
    return {name: _bits(leaf) for name, leaf in leaves(state).items()}


def _bits(leaf: Any) -> str:
    if not isinstance(leaf, Tensor):
        return repr(leaf)
    values = leaf.detach().cpu().contiguous().reshape(-1)
    raw = values.view(torch.uint8).numpy().tobytes() if values.numel() else b""
    return f"{leaf.dtype} {tuple(leaf.shape)} {hashlib.sha256(raw).hexdigest()}"


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """The names whose bits differ, or that only one has."""
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]
