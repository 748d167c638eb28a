"""What can be reached from an object by attributes, closures and containers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

LEAVES = (str, bytes, int, float, complex, bool, type(None), type, ModuleType)


def reachable(root: object, name: str) -> Iterator[tuple[str, object]]:
    """Every object that can be reached from ``root``, once, with the path that leads to it.

    Goes through attributes, containers, bound methods, partials and what functions close over; not
    into classes, modules and the globals of functions, from where everything can be reached.
    """
    seen: dict[int, object] = {}
    todo: deque[tuple[str, object]] = deque([(name, root)])
    while todo:
        path, found = todo.popleft()
        if isinstance(found, LEAVES) or id(found) in seen:
            continue
        seen[id(found)] = found  # kept alive, so that no other object takes its id
        yield path, found
        todo.extend(_children(path, found))


def held_bytes(root: object, apart_from: Iterable[object] = ()) -> int:
    """Bytes of all tensors and arrays that can be reached from an object, each storage once.

    What can be reached from ``apart_from`` is left out.
    """
    storages = _storages(root)
    for given in apart_from:
        for address in _storages(given):
            storages.pop(address, None)
    return sum(storages.values())


def _storages(root: object) -> dict[int, int]:
    """The bytes of each storage that can be reached, by its address."""
    storages: dict[int, int] = {}
    for _, found in reachable(root, "self"):
        if isinstance(found, torch.Tensor):
            storage = found.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(found, np.ndarray):
            storages[found.__array_interface__["data"][0]] = found.nbytes
    return storages


def _children(path: str, found: Any) -> Iterator[tuple[str, object]]:
    if isinstance(found, dict):
        for key, value in found.items():
            yield f"{path}[{str(key)[:40]!r}]", value
            yield f"key of {path}", key
    elif isinstance(found, list | tuple | set | frozenset | deque):
        for at, value in enumerate(found):
            yield f"{path}[{at}]", value
    elif isinstance(found, partial):
        for name in ("func", "args", "keywords"):
            yield f"{path}.{name}", getattr(found, name)
    elif isinstance(found, MethodType):
        yield f"{path}.__self__", found.__self__
        yield f"{path}.__func__", found.__func__
    elif isinstance(found, CellType):
        try:
            yield path, found.cell_contents
        except ValueError:  # not filled yet
            return
    elif isinstance(found, FunctionType):
        names = found.__code__.co_freevars
        for name, cell in zip(names, found.__closure__ or (), strict=True):
            yield f"{path} (closes over {name})", cell
        yield f"{path}.__defaults__", found.__defaults__
        yield f"{path}.__kwdefaults__", found.__kwdefaults__
    attributes = getattr(found, "__dict__", None)
    if isinstance(attributes, dict):
        yield from ((f"{path}.{name}", value) for name, value in attributes.items())
    for cls in type(found).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            value = getattr(found, name, None)
            if value is not None:
                yield f"{path}.{name}", value
