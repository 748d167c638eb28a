"""The grammar of the command line: ``key=value`` words, files, sweeps and arms."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clbench.configure.protocol import spread
from clbench.configure.words import Quoted as Quoted
from clbench.configure.words import split_top as split_top
from clbench.configure.words import without_folder as without_folder
from clbench.errors import UsageError
from clbench.plugins.registry import GROUPS
from clbench.util import yaml_files
from clbench.util.files import FileError, read_text

MAX_CONFIG_BYTES = 1 << 16
"""Largest size of a ``--config`` file; its reader takes a second for it."""
MAX_RUNS = 200_000
"""Largest number of runs of one sweep."""


def sweep(
    overrides: Sequence[str],
    file: Path | Mapping[str, Any] | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """The words (after those of a file) as one ``{key: value}`` per run.

    Args:
        overrides: ``key=value`` words.
        file: a YAML file of settings, or what ``read_file`` found in one; the words override it.
        tell: called with a line for each value that a word names twice; it is swept once.
    """
    pairs = read_file(file) if isinstance(file, Path) else file or {}
    choices: dict[str, list[Any]] = {key: [value] for key, value in pairs.items()}
    given: set[str] = set()
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UsageError(f"expected key=value, got {word!r}")
        if key in given:
            raise UsageError(f"{key} is given twice")
        given.add(key)
        values = split_top(text)
        if any(value == "" for value in values):
            raise UsageError(f"{word}: empty value; write null for none")
        if key in GROUPS and values != choices.get(key, values):
            # Another option of a group: the file's settings of the first do not apply to it.
            choices = {
                k: v for k, v in choices.items() if k in given or not k.startswith(key + ".")
            }
        choices.pop(key, None)
        choices[key] = values
        for value, n in Counter(values).items():
            if tell is not None and n > 1:
                tell(f"{key}={value} is given twice in {word}; it runs once")
    if "board" in choices:
        choices = spread(choices)
    n_runs = math.prod(map(len, choices.values()))
    if n_runs > MAX_RUNS:
        raise UsageError(f"the words ask for {n_runs:,} runs; at most {MAX_RUNS:,} in one sweep")
    arms = {n: group for group in GROUPS for v in choices.get(group, []) for n in _names(str(v))}
    addressed = any(key.partition(".")[0] in arms for key in choices)
    words = [without_folder(word) for word in overrides]
    points = []
    for chosen in itertools.product(*choices.values()):
        point = dict(zip(choices, chosen, strict=True))
        point = _address_arms(point, arms) if addressed else point
        point["overrides"] = words
        points.append(point)
    if not addressed and all(
        len({*map(repr, values)}) == len(values) for values in choices.values()
    ):
        return points
    # naive,ewc x ewc.lam=1,3 names naive twice; two processes would meet in one folder.
    return list({repr(point): point for point in points}.values())


def _address_arms(point: Mapping[str, Any], arms: Mapping[str, str]) -> dict[str, Any]:
    """Turn ``ewc.lam=3`` into ``strategy.lam=3`` where the run's strategy is ewc, else drop it."""
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


def read_file(path: Path) -> dict[str, Any]:
    """The settings of a file under the names that one types, ``strategy`` and ``strategy.lr``.

    Raises:
        UsageError: the file cannot be read, or gives a setting twice.
    """
    try:
        text = read_text(path, MAX_CONFIG_BYTES, links=True)
        loaded = yaml_files.load(text)
    except FileError as error:
        raise UsageError(f"--config {error}") from error
    except yaml_files.YamlError as error:
        raise UsageError(f"--config {path}: {error}") from error
    if isinstance(loaded, dict):
        loaded.pop(
            "resolved", None
        )  # of a run's config.yaml: what open settings came to, no setting
    else:
        raise UsageError(f"--config {path}: must hold settings, such as 'scenario: scole'")
    pairs: dict[str, Any] = {}
    places: dict[str, tuple[str, ...]] = {}
    for name, value, place in _flat(loaded):
        if name in pairs:
            lines = [yaml_files.line_of(text, *keys) for keys in (place, places[name])]
            raise UsageError(
                f"--config {path}: line {lines[0]}: {name} is given twice (first in line {lines[1]})"
            )
        pairs[name], places[name] = value, place
    return pairs


def _flat(loaded: dict[Any, Any]) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Each setting's name and value, and the keys that lead to it."""
    for key, value in loaded.items():
        if key not in (*GROUPS, "tracker") or not isinstance(value, dict):
            yield str(key), value, (str(key),)
            continue
        if "name" in value:
            yield key, value["name"], (key, "name")
        for name, setting in value.items():
            if name != "name":
                yield f"{key}.{name}", setting, (key, str(name))
