"""Checks the class in a plug-in's file: one subclass of the base, with the methods that it needs."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

from clbench.errors import UsageError

OVERRIDDEN = {"strategy": ("learn", "forward")}
"""Methods of a base that is not abstract, which every plug-in overrides."""
WITH_CONFIG = ("strategy", "tracker")
"""Groups whose settings are in the class ``Config`` inside."""


def only_class(group: str, path: Path, module: Any, base: type[Any]) -> type[Any]:
    """The plug-in's class.

    Raises:
        UsageError: there is not exactly one, or it lacks a method or the form of its settings.
    """
    own: list[Any] = [
        v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__
    ]
    own = list(dict.fromkeys(own))
    extending = [cls for cls in own if issubclass(cls, base)]
    found = [cls for cls in extending if not inspect.isabstract(cls)]
    if len(found) != 1:
        if not found and len(extending) == 1:
            _refuse_missing(path, extending[0], sorted(extending[0].__abstractmethods__))
        shown = found or [cls for cls in own if not issubclass(cls, BaseException)]
        names = ", ".join(_at(path, cls) for cls in shown)
        raise UsageError(
            f"{path.name}: must define exactly one subclass of {base.__module__}."
            f"{base.__name__}; found "
            + (f"{names}" if found else "none" + (f" ({names}: of another base)" if names else ""))
        )
    cls: type[Any] = found[0]
    names_needed = OVERRIDDEN.get(group, ())
    missing = [name for name in names_needed if getattr(cls, name) is getattr(base, name)]
    _refuse_missing(path, cls, missing)
    _check_settings(group, path, cls)
    return cls


def line_of_definition(path: Path, *names: str) -> int | None:
    """The line of the last definition of a class or function in a file; the first name counts first."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for name in names:
        lines = [n.lineno for n in ast.walk(tree) if isinstance(n, kinds) and n.name == name]
        if lines:
            return max(lines)
    return None


def _place(path: Path, *names: str) -> str:
    line = line_of_definition(path, *names)
    return path.name + (f" line {line}" if line else "")


def _at(path: Path, cls: type[Any]) -> str:
    line = line_of_definition(path, cls.__name__)
    return f"{cls.__name__} (line {line})" if line else cls.__name__


def _refuse_missing(path: Path, cls: type[Any], names: list[str]) -> None:
    if not names:
        return
    shown = ", ".join(f"{name}{inspect.signature(getattr(cls, name))}" for name in names)
    word = "method" if len(names) == 1 else "methods"
    raise UsageError(
        f"{_place(path, cls.__name__)}: class {cls.__name__} lacks the {word} {_plain(shown)}"
    )


def _plain(signature: str) -> str:
    """A signature without the quotes around its annotations."""
    return signature.replace("'", "")


def _check_settings(group: str, path: Path, cls: type[Any]) -> None:
    settings = cls
    if group in WITH_CONFIG:
        settings = cls.Config
        base = next(vars(b)["Config"] for b in cls.__mro__[1:] if "Config" in vars(b))
        if not inspect.isclass(settings) or not issubclass(settings, base):
            raise UsageError(
                f"{_place(path, 'Config', cls.__name__)}: class Config must extend "
                f"{base.__qualname__}"
            )
    fields = getattr(settings, "__dataclass_fields__", {})
    for name, annotation in inspect.get_annotations(settings).items():
        if name not in fields and "ClassVar" not in str(annotation):
            raise UsageError(
                f"{_place(path, settings.__name__)}: class {settings.__name__} declares the setting "
                f"{name} and is no dataclass: write @dataclass(frozen=True) above it"
            )
