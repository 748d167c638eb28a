"""Hashes of an entry, computed anew from its files: of source by syntax alone, nothing is run."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from clbench.configure import common
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.rules.structure import MAX_SOURCE_BYTES
from clbench.plugins.registry import GROUPS, plugins
from clbench.plugins.source import settings, source_sha256
from clbench.results.record import Record
from clbench.util.hashing import sha256_of

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OSError)


def own_sha256(path: Path) -> str | None:
    """The hash of a submitted source, as the harness takes it; None where it is not Python."""
    if not is_source(path):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd literals in a stranger's code
            return source_sha256(path)["own"]
    except UNPARSABLE:
        return None


@cache
def tree_sha256(group: str, name: str) -> str | None:
    """The hash of this clbench's plug-in of a name; None where it has none."""
    plugin = _plugins(group).get(name)
    return own_sha256(plugin.path) if plugin else None


@cache
def _plugins(group: str) -> dict[str, Any]:
    return plugins(group)


def config_sha256(entry: Entry, record: Record) -> dict[str, str]:
    """The hashes that a record says of itself, computed anew.

    The config's is left out where a group comes from a plug-in that is not here: which of its
    settings are paths, and so no part of the hash, only its source tells.
    """
    found = {"source_sha256": sha256_of(record.sources)}
    identity = copy.copy(record.config)
    for name in common.left_out(record.config):
        identity.pop(name, None)
    for group in GROUPS:
        if record.config.get(group) is None:  # it has no encoder
            continue
        paths = _path_settings(entry, group, record.config[group]["name"])
        if paths is None:
            return found
        identity[group] = {
            key: value
            for key, value in record.config[group].items()
            if key not in paths or not isinstance(value, str)
        }
    return {**found, "config_sha256": sha256_of(identity)}


def _path_settings(entry: Entry, group: str, name: str) -> frozenset[str] | None:
    """The settings of a plug-in that hold paths; None where its source is not here."""
    submitted = {"strategy": entry.source, "model": entry.folder / "model.py"}.get(group)
    if submitted is not None and is_source(submitted):
        return _paths_in(submitted, submitted.stat().st_mtime_ns)
    plugin = _plugins(group).get(name)
    return _paths_in(plugin.path, 0) if plugin else None


def is_source(path: Path) -> bool:
    """Whether there is an ordinary file that is small enough to parse."""
    ordinary = path.is_file() and not path.is_symlink()
    return ordinary and path.stat().st_size <= MAX_SOURCE_BYTES


@cache
def _paths_in(path: Path, version: int) -> frozenset[str]:
    try:
        return frozenset(s.name for s in settings(path) if "Path" in s.type)
    except UNPARSABLE:
        return frozenset()
