"""Reads untrusted JSON and YAML files, with limits on size, depth and values."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clbench.util.yaml_files import CORE, Loader, YamlError, load

MAX_BYTES = 1 << 20
"""Largest size of a file in bytes."""
MAX_YAML_BYTES = 1 << 15
"""Largest size of a YAML file, whose reader is a thousand times slower."""
MAX_DEPTH = 8
MAX_INTEGER = 1 << 63
MAX_TEXT = 4096
LESS = {False: "submit records only", True: "such files are short"}
"""What to do about a file that is too large, by whether links are followed."""


class FileError(Exception):
    """A file is malformed; the message has its path and what to do."""


def read_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """Read a JSON file; refuse duplicate keys, NaN, deep nesting, huge numbers and texts.

    Raises:
        FileError: any of these, or the file cannot be read.
    """
    text = read_text(path, limit)
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError as error:
        raise FileError(f"{path}: is nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:  # also of whole numbers with thousands of digits
        raise FileError(f"{path}: is not strict JSON: {json_fault(error)}") from error
    _check_values(path, data)
    return data


def json_fault(error: BaseException) -> str:
    """What is wrong with a text that is no JSON, in one line."""
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    text = str(error)
    return "holds a number of thousands of digits" if "int_max_str_digits" in text else text


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; refuse aliases, tags and duplicate keys; the limits are those of JSON.

    Raises:
        FileError: any of these, or the file cannot be read.
    """
    return parse_yaml(read_text(path, MAX_YAML_BYTES), path)


def parse_yaml(text: str, path: Path) -> dict[str, Any]:
    """Read the text of a YAML file, as ``read_yaml`` does.

    Args:
        text: of at most ``MAX_YAML_BYTES``.
        path: where it is from, for errors.

    Raises:
        FileError: it is no plain mapping.
    """
    try:
        data = load(text, _StrictLoader)
    except YamlError as error:
        raise FileError(f"{path}: is not plain YAML: {str(error)[:200]}") from error
    if not isinstance(data, dict):
        raise FileError(f"{path}: must hold 'key: value' lines")
    _check_values(path, data)
    return data


def read_text(path: Path, limit: int = MAX_BYTES, *, links: bool = False) -> str:
    """Read an ordinary file of UTF-8 text, of at most ``limit`` bytes.

    Args:
        path: the file.
        limit: in bytes.
        links: whether it may be a link; those of strangers are not followed.

    Raises:
        FileError: it is another kind of file, or cannot be read.
    """
    # O_NONBLOCK: opening a named pipe would block forever. Neither flag exists on Windows.
    follow = 0 if links else getattr(os, "O_NOFOLLOW", 0)
    flags = os.O_RDONLY | follow | getattr(os, "O_NONBLOCK", 0)
    try:
        found = path.stat() if links else path.lstat()
        if not stat.S_ISREG(found.st_mode):
            kinds = "a folder, pipe or device" if links else "a link, folder or device"
            raise FileError(f"{path}: must be an ordinary file, not {kinds}")
        if found.st_size > limit:
            raise FileError(f"{path}: is larger than {limit >> 10} KiB; {LESS[links]}")
        with os.fdopen(os.open(path, flags), "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise FileError(f"{path}: is larger than {limit >> 10} KiB; {LESS[links]}")
        return data.decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: is not UTF-8 text") from error
    except FileNotFoundError as error:
        raise FileError(f"{path}: is missing") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path}: cannot be read: {reason}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:40]!r} is given twice")
    return data


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _check_values(path: Path, data: Any, depth: int = 0) -> None:
    """Refuse values that are too deep, long or large; a list of numbers is checked as a whole."""
    if depth > MAX_DEPTH:
        raise FileError(f"{path}: is nested deeper than {MAX_DEPTH}")
    values: Iterable[Any] = [data]
    if isinstance(data, dict):
        for key in data:
            if not isinstance(key, str):
                raise FileError(f"{path}: key {str(key)[:40]!r} must be a text: write it in quotes")
            _check_text(path, key)
        values = data.values()
    elif isinstance(data, list):
        values = data
    kinds = set(map(type, values))
    if kinds == {list}:  # counts: thousands of short rows, checked as one
        flat = list(itertools.chain.from_iterable(values))
        inner = set(map(type, flat))
        values, kinds = (flat, inner) if inner <= _NUMBERS else (values, kinds)
    _check_numbers(path, values, kinds)
    if kinds <= _NUMBERS:
        return
    for value in values:
        if type(value) is str:
            _check_text(path, value)
        elif type(value) in (dict, list):
            _check_values(path, value, depth + 1)
        elif type(value) not in _NUMBERS:
            kind = type(value).__name__
            raise FileError(f"{path}: {kind} {str(value)[:40]!r}: write it in quotes")


_NUMBERS = {int, float, bool, type(None)}


def _check_numbers(path: Path, values: Iterable[Any], kinds: set[type]) -> None:
    for kind, limit in ((int, MAX_INTEGER), (float, math.inf)):
        if kind not in kinds:
            continue
        some = values if kinds == {kind} else [v for v in values if type(v) is kind]
        inside = -limit < min(some) and max(some) < limit
        # Comparisons miss a NaN, which YAML can write; sums do not.
        if not inside or (kind is float and math.isnan(sum(some))):
            raise FileError(f"{path}: holds a number that is too large or not finite")


def _check_text(path: Path, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise FileError(f"{path}: holds a text of {len(text)} characters; at most {MAX_TEXT}")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise FileError(f"{path}: holds half a character (a lone surrogate)")


_DATE = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?"
    r"(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)\Z"
)
"""What YAML 1.1 takes for a date and YAML 1.2 for a text."""


class _StrictLoader(Loader):
    """Refuses what some readers take for a date, and more depth than a file of ours has."""

    yaml_implicit_resolvers = {None: [*CORE, ("date", _DATE)]}  # noqa: RUF012 - never changed
    max_depth = MAX_DEPTH

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        node: Any = super().compose_node(parent, index)
        if node.tag == "date":
            raise YamlError(
                f"{node.value} is a date to some readers: write it in quotes",
                event.start_mark.line + 1,
            )
        return node
