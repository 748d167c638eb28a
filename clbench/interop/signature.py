"""Makes settings from the signature of another library's class: names, types, defaults, help."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Container, Sequence
from typing import Any, Union, get_args, get_origin

from clbench.errors import UsageError
from clbench.plugins.source import Setting

PLAIN = (bool, int, float, str)


def settings_class(cls: type[Any], base: type[Any], leave_out: Container[str]) -> type[Any]:
    """Make a frozen dataclass: ``base`` and a field for each argument of a constructor.

    A field has a default if the argument has one. An argument that is neither a number, a word nor a
    list of numbers keeps its default.

    Args:
        cls: the class of the constructor.
        base: the dataclass with the settings of every class.
        leave_out: arguments without a field.

    Raises:
        UsageError: a required argument cannot be given by a setting.
    """
    fields: list[tuple[str, Any, Any]] = []
    for p in arguments(cls, leave_out):
        kind = kind_of(p)
        if kind is not None and p.default is inspect.Parameter.empty:
            fields.append((p.name, kind, dataclasses.field()))
        elif kind is not None:
            default = p.default
            if get_origin(kind) is tuple:
                default = tuple(default) if isinstance(default, Sequence) else (default,)
            fields.append((p.name, kind, dataclasses.field(default=default)))
        elif p.default is inspect.Parameter.empty:
            raise UsageError(
                f"{cls.__name__} needs {p.name}, which is neither a number, a word nor a list of "
                "numbers: write a strategy of your own around it"
            )
    return dataclasses.make_dataclass("Config", fields, bases=(base,), frozen=True, kw_only=True)


def arguments(cls: type[Any], leave_out: Container[str]) -> list[inspect.Parameter]:
    """The named arguments of a constructor."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = list(inspect.signature(cls.__init__, eval_str=True).parameters.values())[1:]
    return [p for p in found if p.kind in named and p.name not in leave_out]


def kind_of(parameter: inspect.Parameter) -> Any:
    """The type of a setting for an argument; None where there is no such type.

    A number or one for each experience is a tuple. Where annotation and default disagree (an
    integer with default 0.1), the default decides.
    """
    note, default = parameter.annotation, parameter.default
    given = type(default) if isinstance(default, PLAIN) else None
    if note is inspect.Parameter.empty:
        return given
    options = set(get_args(note)) if get_origin(note) in (Union, types.UnionType) else {note}
    several = [get_args(o)[0] for o in options if get_origin(o) in (list, tuple, Sequence)]
    if len(several) == 1 and several[0] in (int, float):
        return types.GenericAlias(tuple, (several[0], ...))
    plain = [o for o in options if o in PLAIN]
    if len(plain) != 1 or options - {plain[0], type(None)}:
        return given
    kind = float if given is float and plain[0] is int else plain[0]
    return kind | None if type(None) in options or default is None else kind


def one_or_all(values: tuple[Any, ...]) -> Any:
    """Convert a tuple setting for its class: a tuple of one number becomes the number."""
    return values[0] if len(values) == 1 else list(values)


def described(cls: type[Any], config: type[Any], base: type[Any]) -> list[Setting]:
    """List the fields beyond the base's, with their sentences from the docstring."""
    described = sentences(cls.__init__.__doc__ or "")
    common = {f.name for f in dataclasses.fields(base)}
    found = []
    for f in dataclasses.fields(config):
        if f.name not in common:
            missing = f.default is dataclasses.MISSING
            kind = f.type.__name__ if isinstance(f.type, type) and not get_args(f.type) else f.type
            default = "required" if missing else repr(f.default)
            found.append(Setting(f.name, str(kind), default, described.get(f.name, "")))
    return found


def sentences(doc: str) -> dict[str, str]:
    """Read the text after each ``:param name:`` of a docstring."""
    parts = re.split(r":(?:param|return|returns|raises)\s*(\w*)\s*:", inspect.cleandoc(doc))
    return {
        name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
