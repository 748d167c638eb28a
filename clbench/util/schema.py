"""What plain data must look like: small rules that say, in a line each, what is wrong and where.

A rule is called with a value and its place (``cost.train_flops``) and yields faults.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

Rule = Callable[[Any, str], Iterator[str]]

LARGEST = 10**18
"""Of any count. Every such number, and a sum of a few, fits into 64 bits."""


def number(low: float = -math.inf, high: float = math.inf) -> Rule:
    """A finite number within bounds."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if type(value) not in (int, float) or not math.isfinite(value):
            yield f"{where} must be a number"
        elif not low <= value <= high:
            yield f"{where} must be {_range(low, high)}, and is {value}"

    return rule


def integer(low: int = 0, high: int = LARGEST) -> Rule:
    """A whole number within bounds; true and false are none."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if type(value) is not int:
            yield f"{where} must be a whole number"
        elif not low <= value <= high:
            yield f"{where} must be {_range(low, high)}, and is {value}"

    return rule


def _range(low: float, high: float) -> str:
    if high in (math.inf, LARGEST):
        return f"at least {low:g}"
    return f"in {low:g}..{high:g}"


def text(most: int = 200, pattern: str = "", least: int = 0) -> Rule:
    """Printable text of so many characters; ``pattern`` must match all of it."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{where} must be a text"
        elif not least <= len(value) <= most:
            yield f"{where} has {len(value)} characters; must be {least} to {most}"
        elif not value.isprintable():
            yield f"{where} holds characters that cannot be shown"
        elif pattern and not re.fullmatch(pattern, value):
            yield f"{where} {value[:40]!r} is malformed"

    return rule


sha256 = text(64, "[0-9a-f]{64}")


def flag(value: Any, where: str) -> Iterator[str]:
    """True or false."""
    if type(value) is not bool:
        yield f"{where} must be true or false"


def one_of(*options: str) -> Rule:
    """One of some words."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, str) or value not in options:
            yield f"{where} must be one of {', '.join(options)}"

    return rule


def maybe(inner: Rule) -> Rule:
    """Null, or what another rule says."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if value is not None:
            yield from inner(value, where)

    return rule


def fields(optional: Collection[str] = (), /, **rules: Rule) -> Rule:
    """A mapping with exactly these keys, of which some may be absent."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{where or 'the file'} must be a mapping"
            return
        strange = (set(value) ^ set(rules)) - (set(rules) & set(optional))
        if strange:
            wrong = ", ".join(str(key)[:40] for key in sorted(strange, key=str)[:5])
            yield f"{where or 'the file'} has missing or unknown keys: {wrong}"
        for key, inner in rules.items():
            if key in value:
                yield from inner(value[key], f"{where}.{key}" if where else key)

    return rule


def table(inner: Rule, *, key: str, most: int = 64) -> Rule:
    """A mapping of any keys that match a pattern."""
    name = text(100, key)

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{where} must be a mapping"
            return
        if len(value) > most:
            yield f"{where} has {len(value)} keys; at most {most}"
            return
        for name_, item in value.items():
            yield from name(name_, f"a key of {where}")
            yield from inner(item, f"{where}.{str(name_)[:40]}")

    return rule


def items(inner: Rule, most: int) -> Rule:
    """A list; its first fault speaks for all."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list) or len(value) > most:
            yield f"{where} must be a list of at most {most}"
            return
        for n, item in enumerate(value):
            fault = next(inner(item, f"{where}[{n}]"), None)
            if fault:
                yield fault
                return

    return rule


def integers(most: int, low: int = 0) -> Rule:
    """A list of whole numbers, looked at as a whole: it may have thousands."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list) or len(value) > most:
            yield f"{where} must be a list of at most {most}"
        elif value and (set(map(type, value)) != {int} or min(value) < low or max(value) > LARGEST):
            yield f"{where} must hold whole numbers of at least {low}"

    return rule


def rows_of_integers(most: int) -> Rule:
    """A list of lists of whole numbers, looked at as a whole; their range is somebody else's."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list) or not set(map(type, value)) <= {list}:
            yield f"{where} must be a list of lists"
        elif sum(map(len, value)) > most:
            yield f"{where} must hold at most {most} numbers"
        elif not set(map(type, itertools.chain.from_iterable(value))) <= {int}:
            yield f"{where} must hold whole numbers"

    return rule


def numbers_or_null(most: int) -> Rule:
    """A list of finite numbers and nulls."""

    def rule(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list) or len(value) > most:
            yield f"{where} must be a list of at most {most}"
        elif not set(map(type, value)) <= {int, float, type(None)}:
            yield f"{where} must hold numbers or null"

    return rule


def timestamp(value: Any, where: str) -> Iterator[str]:
    """A time in UTC, as ``2026-01-31T23:59:59Z``."""
    try:
        datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - only compared with its like
    except (TypeError, ValueError):
        yield f"{where} must be a time such as 2026-01-31T23:59:59Z"


def plain(value: Any, where: str) -> Iterator[str]:
    """A setting: a number, a text, true, false, null, or a list or mapping of such."""
    if isinstance(value, Mapping):
        yield from table(plain, key=r"[\w.-]+")(value, where)
    elif isinstance(value, list):
        yield from items(plain, 1000)(value, where)
    elif isinstance(value, str):
        yield from text(1000)(value, where)
    elif value is not None and type(value) is not bool:
        yield from number()(value, where)
