"""Sources of entries, kept once each: ``<boards>/sources/<sha256>.py``, named by content.

Many entries run the same strategy. Each names its source by hash in ``entry.yaml``, so that equal
sources are one file. An entry that names none has ``strategy.py`` (and ``model.py``) in its folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from clbench.errors import UsageError
from clbench.leaderboard.entry import Entry, parse_meta, source_file
from clbench.results.record import write_atomically
from clbench.util import yaml_files
from clbench.util.files import FileError, read_yaml

BLOCK = re.compile(r"(?m)^sources:.*\n?(?:[ \t]+.*\n?)*")
"""What ``entry.yaml`` says of its sources."""


def keep(root: Path, data: bytes) -> str:
    """Write a source below a folder of boards, if it is not there; returns its hash."""
    sha = hashlib.sha256(data).hexdigest()
    path = source_file(root, sha)
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return sha


def named(root: Path) -> dict[str, list[Path]]:
    """The entries that name each source, of all boards below a folder.

    Raises:
        FileError: an ``entry.yaml`` cannot be read, so that what it names is unknown.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(root.glob("*/entries/*/entry.yaml")):
        for sha in parse_meta(path).sources.values():
            found.setdefault(sha, []).append(path.parent)
    return found


def drop_unused(root: Path, hashes: Iterable[str]) -> None:
    """Remove sources that no entry names any more; none if an entry cannot be read."""
    try:
        used = named(root)
    except FileError:
        return
    for sha in hashes:
        if sha not in used:
            source_file(root, sha).unlink(missing_ok=True)


def with_sources(path: Path, hashes: Mapping[str, str]) -> str:
    """The text of an ``entry.yaml`` that names other sources; all else stays as it was written.

    Raises:
        UsageError: the file is written in a way that cannot be changed without losing something.
    """
    text = path.read_text(encoding="utf-8")
    before = read_yaml(path)
    rest = BLOCK.sub("", text)
    rest = rest if rest.endswith("\n") else rest + "\n"
    new = rest + yaml_files.dump({"sources": dict(hashes)})
    try:
        kept = yaml_files.load(new) == {**before, "sources": dict(hashes)}
    except yaml_files.YamlError:
        kept = False
    if not kept:
        raise UsageError(f"{path}: cannot be changed; set sources to {dict(hashes)} by hand")
    return new


def check_sources(entry: Entry) -> None:
    """Refuse an entry whose source is missing, or is not what its name says.

    Raises:
        UsageError: naming the file.
    """
    for group, sha in (entry.meta.sources if entry.meta else {}).items():
        path = entry.source_of(group)
        if path.is_symlink() or not path.is_file():
            raise UsageError(f"{path}: is missing; {entry.slug} names it as its {group}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha:
            raise UsageError(f"{path}: was changed; its name is the hash of its content")
