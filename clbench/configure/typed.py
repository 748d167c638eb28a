"""Gives settings their types, one setting at a time; OmegaConf is used here and nowhere else."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clbench.configure.words import Quoted
from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean
from clbench.settings import check
from clbench.util.yaml_files import YamlError, load

LONGEST = 100
"""Characters of a value that an error repeats."""
ATOMS = (str, int, float, bool, type(None))
PLAIN: dict[type[int] | type[float] | type[str], re.Pattern[str]] = {
    int: re.compile(r"-?[0-9]{1,15}"),
    float: re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?(e-?[0-9]{1,2})?"),
    str: re.compile(r"(?!null\Z)[A-Za-z][A-Za-z0-9_-]*"),
}
"""Numbers and words that are read as Python reads them; all else goes through OmegaConf."""


def build(cls: type[Any], given: Mapping[str, Any], prefix: str, words: Sequence[str] = ()) -> Any:
    """Make a settings dataclass from typed values.

    Args:
        cls: the dataclass.
        given: values as words or as a file has them, by name; each is a field of the dataclass.
        prefix: what errors put before a setting's name, such as ``strategy.``.
        words: what was typed, for errors.

    Raises:
        UsageError: a value is not of its type or outside its bounds; it names the setting.
    """
    for name in given:
        if name not in names(cls):
            raise UsageError(f"{prefix}{name} is no setting{did_you_mean(name, names(cls))}")
    values = {f.name: _default_copy(cls, f) for f in _optional(cls) if f.name not in given}
    for name, value in given.items():
        values[name] = _typed(cls, name, value, prefix, words)
    for name in given:
        if isinstance(values[name], float) and math.isnan(values[name]):
            raise UsageError(f"{prefix}{name}=nan: is not a number")
    built = cls(**values)
    check(built, prefix.removesuffix("."))
    return built


def defaults(cls: type[Any]) -> dict[str, Any]:
    """The defaults of a settings dataclass, converted to their declared types."""
    return {f.name: _default(cls, f.name) for f in _optional(cls)}  # type: ignore[arg-type]


def _optional(cls: type[Any]) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(cls) if f.init and not is_required(f)]


def _default_copy(cls: type[Any], f: dataclasses.Field[Any]) -> Any:
    value = _default(cls, f.name)  # type: ignore[arg-type]  # a class is hashable
    return value if type(value) in ATOMS else copy.deepcopy(value)


@cache
def _default(cls: type[Any], name: str) -> Any:
    [f] = [f for f in dataclasses.fields(cls) if f.name == name]
    if dataclasses.is_dataclass(f.default) or _is_typed(cls, name, f.default):
        return f.default
    return getattr(OmegaConf.to_object(_schema(cls, name)), name)  # type: ignore[arg-type]


def is_required(f: dataclasses.Field[Any]) -> bool:
    """Whether a setting has no default."""
    missing = dataclasses.MISSING
    return f.init and f.default is missing and f.default_factory is missing


def gathered(cls: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings inside a setting, given as ``first.epochs``, as one mapping under its name."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        name, dot, inner = key.partition(".")
        if dot and name in names(cls) and dataclasses.is_dataclass(_kinds(cls)[name]):  # type: ignore[arg-type]
            before = found.get(name, {})
            found[name] = {**(before if isinstance(before, Mapping) else {}), inner: value}
        elif isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = {**value, **found[key]}  # of a file, which the words override
        else:
            found[key] = value
    return found


def names(cls: type[Any]) -> frozenset[str]:
    """The settings of a dataclass."""
    return _names(cls)  # type: ignore[arg-type]


@cache
def _names(cls: type[Any]) -> frozenset[str]:
    return frozenset(f.name for f in dataclasses.fields(cls) if f.init)


@cache
def _schema(cls: type[Any], name: str) -> Any:
    """The typed node of one setting: merging into it copies it, and a whole class is expensive."""
    [f] = [f for f in dataclasses.fields(cls) if f.name == name]
    missing = dataclasses.MISSING
    default: Any = dataclasses.field()
    if f.default is not missing:
        default = dataclasses.field(default=f.default)
    elif f.default_factory is not missing:
        default = dataclasses.field(default_factory=f.default_factory)
    kind = _kinds(cls)[name]  # type: ignore[arg-type]
    return OmegaConf.structured(dataclasses.make_dataclass(cls.__name__, [(name, kind, default)]))


@cache
def _kinds(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


@cache
def _types(cls: type[Any], name: str) -> frozenset[type[Any]]:
    """The types of one number, text or null that a setting has."""
    return frozenset({*_members(cls, name)} & {*ATOMS})


@cache
def _choices(cls: type[Any], name: str) -> frozenset[Any]:
    """The values of a setting that takes a few."""
    members = _members(cls, name)
    return frozenset(v for m in members if get_origin(m) is Literal for v in get_args(m))


def _members(cls: type[Any], name: str) -> tuple[Any, ...]:
    kind = _kinds(cls)[name]  # type: ignore[arg-type]
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


@cache
def _items(cls: type[Any], name: str) -> type[Any] | None:
    """The type of the numbers of a setting that is a list of them; else None."""
    kind = _kinds(cls)[name]  # type: ignore[arg-type]
    return {tuple[int, ...]: int, tuple[float, ...]: float}.get(kind)


def _is_typed(cls: type[Any], name: str, value: Any) -> bool:
    """Whether a value is of its setting's type as it is; where that is not plain, False."""
    if type(value) is tuple:
        item = _items(cls, name)  # type: ignore[arg-type]
        return item is not None and all(type(part) is item for part in value)
    if type(value) not in ATOMS:
        return False
    kinds, choices = _types(cls, name), _choices(cls, name)  # type: ignore[arg-type]
    return type(value) in kinds or (type(value) is str and value in choices)


@cache
def _atom(cls: type[Any], name: str) -> type[int] | type[float] | type[str] | None:
    """The type of a setting that is one number or text, or that or null."""
    members = {*_members(cls, name)} - {type(None)}
    found = next(iter(members)) if len(members) == 1 else None
    return found if found in PLAIN else None


def _typed(cls: type[Any], name: str, value: Any, prefix: str, words: Sequence[str]) -> Any:
    """One value in the declared type of its setting.

    Raises:
        UsageError: it has another type.
    """
    kind = _kinds(cls)[name]  # type: ignore[arg-type]
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise UsageError(
                f"{prefix}{name}={value} has settings of its own: {prefix}{name}.X=..."
            )
        return build(kind, value, f"{prefix}{name}.", words)  # type: ignore[arg-type]
    plain = tuple(value) if type(value) is list else value
    if _is_typed(cls, name, plain) and (type(plain) is not str or plain in _choices(cls, name)):  # type: ignore[arg-type]
        return plain  # as it comes from JSON; a union takes the member that it is
    atom = _atom(cls, name)  # type: ignore[arg-type]
    if atom is not None and type(value) is str and PLAIN[atom].fullmatch(value):
        return atom(value)
    try:
        found = _value(value)
        one = isinstance(found, str | int | float) and not isinstance(found, bool)
        if one and kind in (tuple[str, ...], tuple[float, ...]):
            found = [found]  # one word is a list of one
        node = OmegaConf.merge(_schema(cls, name), {name: found})  # type: ignore[arg-type]
        return getattr(OmegaConf.to_object(node), name)
    except (OmegaConfBaseException, YamlError, ValueError, OverflowError) as error:
        key, text = f"{prefix}{name}", str(value)
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        if "tuple" in str(kind) and not text.startswith(("[", "{")):
            asked = _as_given(key, words) or shown
            raise UsageError(f"{key}={shown}: is a list; write {key}=[{asked}]") from error
        reason = (getattr(error, "problem", str(error)).splitlines() or ["is malformed"])[0]
        if len(text) > LONGEST:
            reason = f"is of {len(text):,} characters, and no value of this setting"
        raise UsageError(f"{key}={shown}: {reason}") from error


def _as_given(key: str, words: Sequence[str]) -> str:
    """What a word gave for a key, or for its setting under the name of an arm; empty if none did."""
    name = f".{key.rpartition('.')[2]}"
    for word in words:
        head, _, text = word.partition("=")
        if (head == key or head.endswith(name)) and len(text) <= LONGEST and "[" not in text:
            return text
    return ""


def _value(value: Any) -> Any:
    """Scalars stay raw text, which the typed node converts; lists and null need YAML.

    A value in quotes is text, whatever it looks like.
    """
    if isinstance(value, str) and "${" in value:
        # It would make the run depend on the environment and carry that into its record.
        raise UsageError(f"{value!r}: interpolation is not supported; write the value out")
    if isinstance(value, Quoted):
        return str(value)
    if isinstance(value, str) and (value[:1] in "[{" or value == "null"):
        return load(value)
    return value
