"""Recomputes the hashes of an entry from its files; source is parsed, never run."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from clbench.configure import common
from clbench.engine.version import RESULTS_VERSION
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.rules.structure import MAX_SOURCE_BYTES, SOURCES
from clbench.plugins.registry import GROUPS, plugins
from clbench.plugins.source import base_versions, identity_sha256, settings, source_sha256
from clbench.results.record import Record
from clbench.util.hashing import sha256_of

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OSError)


def own_sha256(path: Path) -> str | None:
    """The hash of a submitted source, as in the harness; None if it is not Python."""
    if not is_source(path):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about literals in untrusted code
            return source_sha256(path)["own"]
    except UNPARSABLE:
        return None


@cache
def tree_sha256(group: str, name: str) -> str | None:
    """The hash of this clbench's plug-in of a name; None if there is none."""
    plugin = _plugins(group).get(name)
    return own_sha256(plugin.path) if plugin else None


def is_stale(group: str, name: str, record: Record, source: Path) -> bool:
    """Whether this clbench's plug-in of a name gives other runs than the one that ran.

    It does where its code means something else, or where a version of results has been raised since.
    The text of an error and the place of a module of the engine mean nothing. A submitted source shows
    what its code means. Without one, the record's ``plugin_sha256`` says it; of a record that has
    neither only the exact hash can be compared.

    Args:
        group: of the plug-in.
        name: of the plug-in.
        record: of one of the runs.
        source: the source that ran, as submitted; it need not exist.
    """
    plugin = _plugins(group).get(name)
    if plugin is None:
        return False
    if record.sources[group] != tree_sha256(group, name):
        if is_source(source):
            ran = _meaning(source, source.stat().st_mtime_ns)
        else:
            ran = (record.plugin_sha256 or {}).get(group)
        if ran is None or ran != _meaning(plugin.path, 0):
            return True
    if group != "strategy":
        return False
    now = {"engine": RESULTS_VERSION, **base_versions(plugin.path)}
    then = record.results_versions or {}
    return any(then.get(base, 1) != number for base, number in now.items())


@cache
def _meaning(path: Path, version: int) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return identity_sha256(path)
    except UNPARSABLE:
        return None


@cache
def _plugins(group: str) -> dict[str, Any]:
    return plugins(group)


def config_sha256(entry: Entry, record: Record) -> dict[str, str]:
    """Recompute the hashes that a record holds.

    The config's hash is left out if a plug-in's source is not available: only the source shows which
    settings are paths, which the hash excludes.
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
    """The settings of a plug-in that hold paths; None if its source is not available."""
    submitted = entry.source_of(group) if group in SOURCES else None
    if submitted is not None and is_source(submitted):
        return _paths_in(submitted, submitted.stat().st_mtime_ns)
    plugin = _plugins(group).get(name)
    return _paths_in(plugin.path, 0) if plugin else None


def is_source(path: Path) -> bool:
    """Whether an ordinary file exists and is small enough to parse."""
    ordinary = path.is_file() and not path.is_symlink()
    return ordinary and path.stat().st_size <= MAX_SOURCE_BYTES


@cache
def _paths_in(path: Path, version: int) -> frozenset[str]:
    try:
        return frozenset(s.name for s in settings(path) if "Path" in s.type)
    except UNPARSABLE:
        return frozenset()
