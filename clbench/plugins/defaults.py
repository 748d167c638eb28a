"""The defaults of a plug-in's settings as plain data, read from its source and never run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clbench.plugins.source import class_settings, settings


class Unreadable:
    """Stands for a default whose value only running the source would show; it equals nothing."""

    def __repr__(self) -> str:
        """As an error shows it."""
        return "what its source computes"


UNREADABLE = Unreadable()


def written_defaults(path: Path) -> Mapping[str, Any]:
    """The defaults of the plug-in in a file, as a record has them: tuples as lists.

    Of settings inside a setting, those that are not null. A default that is neither a literal nor the
    name of one is ``UNREADABLE``.
    """
    stat = path.stat()
    return _defaults(path, (stat.st_mtime_ns, stat.st_size))


@cache
def _defaults(path: Path, stamp: tuple[int, int]) -> Mapping[str, Any]:
    return MappingProxyType({s.name: _value(path, s.default) for s in settings(path)})


def _value(path: Path, text: str) -> Any:
    """What the text of a default stands for."""
    try:
        value = ast.literal_eval(text)
    except ValueError:
        return _inner(path, ast.parse(text, mode="eval").body)
    return list(value) if isinstance(value, tuple) else value


def _inner(path: Path, node: ast.expr) -> Any:
    """The settings inside a setting, whose default is that of all of them: ``First()``."""
    if not isinstance(node, ast.Call) or node.args or node.keywords:
        return UNREADABLE
    inner = class_settings(path, ast.unparse(node.func))
    found = {s.name: _value(path, s.default) for s in inner}
    if UNREADABLE in found.values():
        return UNREADABLE
    return {name: value for name, value in found.items() if value is not None}


def is_same(a: Any, b: Any) -> bool:
    """Whether two values of a setting are the same; true is not 1."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)
