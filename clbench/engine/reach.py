"""What can be reached from an object by attributes, closures and containers."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from functools import cache, partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

PLAIN = frozenset(
    {str, bytes, int, float, complex, bool, type(None), type, ModuleType, torch.dtype, torch.device}
)
MAPPINGS = frozenset({dict, OrderedDict})
SEQUENCES = frozenset({list, tuple, set, frozenset, deque, torch.Size})
"""Types whose objects are what they contain."""
LEAVES = (str, bytes, int, float, complex, bool, type(None), type, ModuleType)


def reachable(root: object, name: str) -> Iterator[tuple[str, object]]:
    """Every object that can be reached from ``root``, once, with the path that leads to it.

    Goes through attributes, containers, bound methods, partials and what functions close over; not
    into classes, modules and the globals of functions, from where everything can be reached.
    """
    for where, found in _walk(root):
        yield _path(name, where), found


Where = tuple["Where", str, object] | None
"""How one comes to an object: from where, a form with ``{}`` for what follows, and that."""


def _walk(root: object) -> Iterator[tuple[Where, object]]:
    seen: dict[int, object] = {}
    todo: deque[tuple[Where, object]] = deque([(None, root)])
    while todo:
        where, found = todo.popleft()
        if isinstance(found, LEAVES) or id(found) in seen:
            continue
        seen[id(found)] = found  # kept alive, so that no other object takes its id
        yield where, found
        todo.extend(_children(where, found))


def _path(name: str, where: Where) -> str:
    """The path in words; made only where someone reads it, since that is what takes time."""
    steps = []
    while where is not None:
        where, form, key = where
        steps.append((form, key))
    for form, key in reversed(steps):
        name = form.format(name, repr(str(key)[:40]) if form == ITEM else key)
    return name


ITEM = "{}[{}]"
PLACE = "{0}[{1}]"
ATTRIBUTE, KEY, CELL = "{}.{}", "key of {}", "{} (closes over {})"


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
    # As ``_walk`` goes, but without noting the way: this is done at every counted call.
    seen: dict[int, object] = {}
    todo = [root]
    while todo:
        found = todo.pop()
        kind = type(found)
        if kind in PLAIN or id(found) in seen:
            continue
        seen[id(found)] = found
        if kind in MAPPINGS:
            if found:
                todo += [*found, *found.values()]  # type: ignore[misc,attr-defined]
            if kind is OrderedDict:
                todo += vars(found).values()
            continue
        if kind in SEQUENCES:
            todo += found  # type: ignore[arg-type]
            continue
        if isinstance(found, LEAVES):
            continue
        if isinstance(found, torch.Tensor):
            storage = found.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(found, np.ndarray):
            storages[found.__array_interface__["data"][0]] = found.nbytes
        if isinstance(found, torch.Tensor | torch.nn.Module):
            todo += vars(found).values()
            slots = _slots(kind)  # type: ignore[arg-type]  # a class is hashable
            todo += [getattr(found, name, None) for name in slots]
            continue
        todo += [child for _, child in _children(None, found)]
    return storages


def _children(at: Where, found: Any) -> Iterator[tuple[Where, object]]:
    if isinstance(found, dict):
        for key, value in found.items():
            if not isinstance(value, LEAVES):
                yield (at, ITEM, key), value
            if not isinstance(key, LEAVES):
                yield (at, KEY, None), key
    elif isinstance(found, list | tuple | set | frozenset | deque):
        for place, value in enumerate(found):
            yield (at, PLACE, place), value
    elif isinstance(found, partial):
        for name in ("func", "args", "keywords"):
            yield (at, ATTRIBUTE, name), getattr(found, name)
    elif isinstance(found, MethodType):
        yield (at, ATTRIBUTE, "__self__"), found.__self__
        yield (at, ATTRIBUTE, "__func__"), found.__func__
    elif isinstance(found, CellType):
        try:
            yield at, found.cell_contents
        except ValueError:  # not filled yet
            return
    elif isinstance(found, FunctionType):
        names = found.__code__.co_freevars
        for name, cell in zip(names, found.__closure__ or (), strict=True):
            yield (at, CELL, name), cell
        yield (at, ATTRIBUTE, "__defaults__"), found.__defaults__
        yield (at, ATTRIBUTE, "__kwdefaults__"), found.__kwdefaults__
    attributes = getattr(found, "__dict__", None)
    if isinstance(attributes, dict):
        for name, value in attributes.items():
            if not isinstance(value, LEAVES):
                yield (at, ATTRIBUTE, name), value
    for name in _slots(type(found)):  # type: ignore[arg-type]
        value = getattr(found, name, None)
        if value is not None:
            yield (at, ATTRIBUTE, name), value


@cache
def _slots(cls: type) -> tuple[str, ...]:
    """The names of a class's slots and of those of its bases."""
    found: list[str] = []
    for one in cls.__mro__:
        slots = one.__dict__.get("__slots__", ())
        found += (slots,) if isinstance(slots, str) else slots
    return (*found,)
