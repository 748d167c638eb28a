"""A strategy's state between processes: a tree in JSON, and tensors in safetensors; no pickle.

What it may hold is what ``torch.load(weights_only=True)`` takes in a checkpoint, less its types of
torch: tensors, mappings, lists, tuples, numbers, texts and None.
"""

from __future__ import annotations

import json
import lzma
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
MAX_TEXT = 1024
"""Largest size of what a state may say outside the values of its tensors, compressed, beyond what it
says at the start. On small networks no built-in strategy says more than 250 bytes; ``expansion``, which
adds networks, says 430 with seven of slim_resnet18."""
PART = 1000
"""One part in so many of the bytes of its tensors may be text, too: large networks have many names."""


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


def canonical(state: Any) -> tuple[str, dict[str, Tensor], bytes]:
    """A state as ``split`` writes it, and all of it but the values of its tensors, as text.

    Keys, numbers, texts, nesting, and the types and shapes of tensors are in the text: what a state
    says without a byte that is counted.
    """
    tensors: dict[str, Tensor] = {}
    tree = _tree(state, tensors, 0)
    return json.dumps(tree), tensors, json.dumps(_outline(tree, tensors)).encode()


def refuse_hidden_text(text: bytes, known: bytes, counted: int) -> None:
    """Refuse memory in keys, numbers, texts and shapes, where its bytes would not be counted.

    Args:
        text: of a state, as ``canonical`` gives it.
        known: of the state that the strategy started with.
        counted: bytes of the state's tensors.

    Raises:
        TypeError: the text says much that is not known.
    """
    found, allowed = bytes_beyond(text, known), max(MAX_TEXT, counted // PART)
    if found > allowed:
        raise TypeError(
            f"a state with {found} bytes of new names, numbers and shapes, compressed; at most "
            f"{allowed} may stand outside the values of tensors: keep memory in tensors"
        )


def bytes_beyond(text: bytes, known: bytes) -> int:
    """How many bytes a text needs, compressed, for somebody who knows another one.

    No text of n random bytes is compressed to much less than n, so that this bounds what a state can
    hold outside its tensors. The names of a strategy's tensors are in the state that it starts with.
    """
    return max(0, _compressed(known + text) - _compressed(known))


def _compressed(text: bytes) -> int:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": max(4096, 2 * len(text))}]
    return len(lzma.compress(text, lzma.FORMAT_RAW, filters=filters))


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


def _outline(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """A tree with the type and shape of each tensor in place of its number."""
    if not isinstance(tree, dict):
        return tree
    [(kind, value)] = tree.items()
    if kind == "tensor":
        return {str(tensors[value].dtype): [*tensors[value].shape]}
    if kind in ("dict", "ordered"):
        return {kind: [[key, _outline(item, tensors)] for key, item in value]}
    return {kind: value if kind == "float" else [_outline(item, tensors) for item in value]}


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
