"""Finds the files that an entry's settings name, such as released weights, at the verifier's.

A record names such a file by its name and its SHA-256 (``weights_path`` and ``weights_sha256``). Only a
file of that hash, in a folder that the verifier gives or in the cache of released weights, is handed to
a process: a record could name any file of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clbench.data.latent_cache import home
from clbench.data.released import Released
from clbench.errors import UsageError
from clbench.plugins.source import Setting
from clbench.plugins.source import settings as settings_of
from clbench.util.hashing import file_sha256

SHA256 = re.compile(r"[0-9a-f]{64}")
OPTION = "clbench verify --files FOLDER"


def files_of(
    source: Path, settings: Mapping[str, Any], folders: Sequence[Path], division: str
) -> dict[str, str]:
    """The files that the settings of a strategy name, by setting.

    Args:
        source: the strategy's source, which is read and not run.
        settings: as in a record.
        folders: where the verifier keeps such files, beside the cache of released weights.
        division: of the entry; only ``open`` takes files.

    Raises:
        UsageError: the source cannot be read, or a setting names a file that is not taken.
    """
    named = {name: settings.get(name) for name in path_settings(source)}
    given = {name: value for name, value in named.items() if value is not None}
    if given and division != "open":
        raise UsageError(
            f"strategy.{min(given)} is a file, which may hold anything; only division=open takes one"
        )
    where = (*folders, home() / Released.folder)
    return {name: str(_found(name, value, settings, where)) for name, value in given.items()}


def path_settings(source: Path) -> list[str]:
    """The settings of a plug-in that name files; its source is read and not run.

    Raises:
        UsageError: the source cannot be read.
    """
    return [setting.name for setting in _settings(source) if "Path" in setting.type]


def hash_setting(name: str) -> str:
    """The setting that holds the SHA-256 of the file that another one names."""
    return f"{name.removesuffix('_path')}_sha256"


def _settings(source: Path) -> list[Setting]:
    try:
        return settings_of(source)
    except SyntaxError as error:
        raise UsageError(
            f"{source.name} line {error.lineno or 1}: does not parse: {error.msg}; correct the source"
        ) from error
    except Exception as error:  # a stranger's source may be anything
        what = type(error).__name__
        raise UsageError(
            f"{source.name}: its settings cannot be read ({what}); correct the source"
        ) from error


def _found(name: str, value: Any, settings: Mapping[str, Any], where: Sequence[Path]) -> Path:
    shown, hashed = f"strategy.{name}={value}", f"strategy.{hash_setting(name)}"
    wanted = settings.get(hash_setting(name))
    if not isinstance(value, str) or not _is_name(value):
        raise UsageError(f"{shown}: a record names a file by its name alone, without a folder")
    if not isinstance(wanted, str) or not SHA256.fullmatch(wanted):
        raise UsageError(f"{shown}: the record names no SHA-256 of it; fill in {hashed}")
    there = [folder / value for folder in where if _is_inside(folder, value)]
    for path in there:
        if file_sha256(path) == wanted:
            return path.resolve()
    if there:
        raise UsageError(
            f"{shown}: {there[0]} does not have the SHA-256 {wanted[:12]}... that {hashed} names: "
            "it is another file"
        )
    raise UsageError(f"{shown}: no such file here; name the folder that holds it: {OPTION}")


def _is_name(value: str) -> bool:
    """Whether a text is a file's name and no path, on any system."""
    return value not in ("", ".", "..") and not re.search(r"[/\\:\0]|^~", value)


def _is_inside(folder: Path, name: str) -> bool:
    """Whether a folder holds an ordinary file of this name; a link out of it is none."""
    path = folder / name
    return path.is_file() and path.resolve().parent == folder.resolve()
