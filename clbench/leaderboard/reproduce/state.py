"""A strategy's state between processes: a tree in JSON, and tensors in safetensors; no pickle.

What it may hold is what ``torch.load(weights_only=True)`` takes in a checkpoint, less its types of
torch: tensors, mappings, lists, tuples, numbers, texts and None.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from clbench.leaderboard.reproduce.wire import WireError

if TYPE_CHECKING:
    from torch import Tensor

MAX_TREE = 1 << 20
"""Largest size of the tree, in bytes."""
LONGEST_KEY = 200
MAX_DEPTH = 32


def split(state: Any) -> tuple[str, dict[str, Tensor]]:
    """The tree of a state as JSON, and its tensors by number.

    Raises:
        TypeError: it holds something else.
    """
    tensors: dict[str, Tensor] = {}
    return json.dumps(_tree(state, tensors, 0)), tensors


def join(text: str, tensors: dict[str, Tensor]) -> Any:
    """The state of a tree and its tensors.

    Raises:
        WireError: they do not fit together.
    """
    if len(text) > MAX_TREE:
        raise WireError(f"a state whose tree has {len(text)} bytes, where {MAX_TREE} are allowed")
    used: set[str] = set()
    try:
        state = _state(json.loads(text), tensors, used)
    except (ValueError, LookupError, TypeError, RecursionError, AttributeError) as error:
        raise WireError("a state that is no tree") from error
    if used != set(tensors):
        raise WireError("a state with tensors that it does not hold")
    return state


def _tree(value: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    import torch

    if depth > MAX_DEPTH:
        raise TypeError(f"state_dict() is nested deeper than {MAX_DEPTH}")
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach()
        return {"tensor": name}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, int | str) or len(str(key)) > LONGEST_KEY:
                raise TypeError(f"state_dict() has the key {str(key)[:40]!r}: use short texts")
        kind = "ordered" if isinstance(value, OrderedDict) else "dict"
        return {kind: [[k, _tree(v, tensors, depth + 1)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_tree(v, tensors, depth + 1) for v in value]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(
        f"state_dict() holds a {type(value).__name__}: keep tensors and plain data in it"
    )


def _state(tree: Any, tensors: dict[str, Tensor], used: set[str]) -> Any:
    if not isinstance(tree, dict):
        if isinstance(tree, list):
            raise TypeError(tree)
        return tree
    [(kind, value)] = tree.items()
    if kind == "tensor":
        used.add(value)
        return tensors[value]
    if kind == "float":
        return float(value)
    if kind in ("dict", "ordered"):
        made: dict[Any, Any] = OrderedDict() if kind == "ordered" else {}
        for key, item in value:
            if not isinstance(key, int | str) or len(str(key)) > LONGEST_KEY:
                raise ValueError(key)
            made[key] = _state(item, tensors, used)
        return made
    items = [_state(item, tensors, used) for item in value]
    return {"list": items, "tuple": tuple(items)}[kind]
