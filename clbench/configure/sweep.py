"""The grammar of the command line: ``key=value`` words, files, sweeps and arms."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from clbench.configure.protocol import spread
from clbench.errors import UsageError
from clbench.plugins.registry import GROUPS


def split_top(text: str) -> list[str]:
    """Split at commas outside brackets and quotes: ``a,[1,2]`` to ``a`` and ``[1,2]``.

    An inclusive range of integers, ``0..4``, counts as its members.
    """
    parts, depth, quote, start = [], 0, "", 0
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "[{(":
            depth += 1
        elif char in "]})":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    spread: list[str] = []
    for part in parts:
        bounds = re.fullmatch(r"(\d+)\.\.(\d+)", part)
        if bounds:
            low, high = int(bounds[1]), int(bounds[2])
            if high < low or high - low > 100_000:
                raise UsageError(f"range {part} is empty or too long")
            spread += [str(i) for i in range(low, high + 1)]
        else:
            spread.append(part)
    return spread


def sweep(
    overrides: Sequence[str],
    file: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """The words (after those of a file) as one ``{key: value}`` per run.

    Args:
        overrides: ``key=value`` words.
        file: a YAML file of settings, which the words override.
        tell: called with a line for each value that a word names twice; it is swept once.
    """
    pairs: dict[str, Any] = _read_file(file) if file else {}
    choices: dict[str, list[Any]] = {key: [value] for key, value in pairs.items()}
    given: set[str] = set()
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UsageError(f"expected key=value, got {word!r}")
        if key in given:
            raise UsageError(f"{key} is given twice")
        given.add(key)
        if key in GROUPS and [text] != choices.get(key, [text]):
            # Another option of a group: the file's settings of the first do not apply to it.
            choices = {
                k: v for k, v in choices.items() if k in given or not k.startswith(key + ".")
            }
        choices.pop(key, None)
        choices[key] = split_top(text)
        if any(part == "" for part in choices[key]):
            raise UsageError(f"{word}: empty value; write null for none")
        for value in dict.fromkeys(choices[key]):
            if tell is not None and choices[key].count(value) > 1:
                tell(f"{key}={value} is given twice in {word}; it runs once")
    if "board" in choices:
        choices = spread(choices)
    points = [dict(zip(choices, p, strict=True)) for p in itertools.product(*choices.values())]
    addressed = [_address_arms(point, choices) for point in points]
    words = [without_folder(word) for word in overrides]
    for point in addressed:
        point["overrides"] = words
    # naive,ewc x ewc.lam=1,3 names naive twice; two processes would meet in one folder.
    return list({repr(point): point for point in addressed}.values())


def _address_arms(point: dict[str, Any], choices: dict[str, list[Any]]) -> dict[str, Any]:
    """Turn ``ewc.lam=3`` into ``strategy.lam=3`` where the run's strategy is ewc, else drop it."""
    arms = {n: group for group in GROUPS for v in choices.get(group, []) for n in _names(str(v))}
    chosen = {n for group in GROUPS if group in point for n in _names(str(point[group]))}
    out: dict[str, Any] = {}
    for key, value in point.items():
        head, dot, rest = key.partition(".")
        if dot and head not in GROUPS and head in arms:
            if head in chosen:
                out[f"{arms[head]}.{rest}"] = value
        else:
            out[key] = value
    return out


def _names(value: str) -> tuple[str, ...]:
    """What an arm is addressed by: ``mine`` of ``path/mine.py``, ``timm`` of ``timm:resnet18``.

    ``avalanche:EWC`` goes by its whole name, too, since one sweep may hold several of a library.
    """
    if value.endswith(".py"):
        return (Path(value).stem,)
    return value, value.partition(":")[0]


def _read_file(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"--config {path}: must hold settings, such as 'scenario: scole'")
    pairs: dict[str, Any] = {}
    for key, value in loaded.items():
        if key in GROUPS and isinstance(value, dict):
            settings = dict(value)
            if "name" in settings:
                pairs[key] = settings.pop("name")
            pairs.update({f"{key}.{name}": v for name, v in settings.items()})
        else:
            pairs[str(key)] = value
    return pairs


def without_folder(word: str) -> str:
    """A word with the folder of a path taken off: it goes into the record."""
    key, _, text = word.partition("=")
    if "/" not in text and "\\" not in text:
        return word
    return f"{key}={','.join(_file_name(part) for part in text.split(','))}"


def _file_name(value: str) -> str:
    """The last part of a path, which may stand behind the ``name:`` of a plug-in."""
    name, colon, path = value.partition(":")
    if colon and len(name) > 1 and name.isidentifier():  # one letter: a drive of Windows
        return f"{name}:{Path(path).name}"
    return Path(value).name
