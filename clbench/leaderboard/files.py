"""Reading files of strangers: JSON and YAML with every limit that a hostile one would exceed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1 << 20
"""Of one file."""
MAX_DEPTH = 8
MAX_INTEGER = 1 << 63
MAX_TEXT = 4096


class FileError(Exception):
    """A file that is not what it should be; one line with its path and what to do."""


def read_json(path: Path) -> Any:
    """A JSON file: no duplicate keys, no NaN, no deep nesting, no huge numbers or texts.

    Raises:
        FileError: any of these, or the file cannot be read.
    """
    text = _read_text(path)
    try:
        data = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_int=_integer,
            parse_float=_float,
        )
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not strict JSON: {error}") from error
    _check_texts(path, data)
    return data


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping: no aliases, no tags, no duplicate keys; same limits as JSON.

    Raises:
        FileError: any of these, or the file cannot be read.
    """
    text = _read_text(path)
    try:
        data = yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        line = str(error).replace("\n", " ")
        raise FileError(f"{path}: is not plain YAML: {line[:200]}") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise FileError(f"{path}: must hold 'key: value' lines")
    _check_texts(path, data)
    return data


def _read_text(path: Path) -> str:
    try:
        if path.is_symlink() or not path.is_file():
            raise FileError(f"{path}: must be an ordinary file")
        if path.stat().st_size > MAX_BYTES:
            raise FileError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; submit records only")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: is not UTF-8 text") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:40]!r} is given twice")
    return data


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) >= MAX_INTEGER:
        raise ValueError(f"{text[:20]}... is too large a number")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _check_texts(path: Path, data: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise FileError(f"{path}: is nested deeper than {MAX_DEPTH}")
    if isinstance(data, str) and len(data) > MAX_TEXT:
        raise FileError(f"{path}: holds a text of {len(data)} characters; at most {MAX_TEXT}")
    if isinstance(data, float) and not math.isfinite(data):
        raise FileError(f"{path}: holds a number that is not finite")
    if isinstance(data, Mapping):
        for key, value in data.items():
            _check_texts(path, key, depth + 1)
            _check_texts(path, value, depth + 1)
    elif isinstance(data, list):
        for value in data:
            _check_texts(path, value, depth + 1)


class _StrictLoader(yaml.SafeLoader):
    """Plain values only; an alias could blow a few bytes up to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len({repr(key) for key in keys}) != len(keys):
            raise yaml.YAMLError("a key is given twice")
        return super().construct_mapping(node, deep)
