"""Rule S3 of texts that pages show: they can be read, and no name can be taken for another entry's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from clbench.configure.board import Board
from clbench.errors import ClbenchError
from clbench.leaderboard.entry import Entry, ledger_file, parse_meta
from clbench.leaderboard.rules.findings import Check, Finding, error, place
from clbench.util.files import FileError
from clbench.util.lookalikes import fault_of_text, looks_of, shows_something


def texts_can_be_read(board: Board, entry: Entry) -> Iterator[Finding]:
    """S3: names and texts have no invisible characters and no word of two alphabets."""
    meta = entry.meta
    if meta is None:
        return
    texts = [
        ("name", meta.name),
        ("strategy", meta.strategy),
        *(("authors", author) for author in meta.authors),
        ("affiliation", meta.affiliation),
        ("description", meta.description),
        ("paper_reference.source", str(meta.paper_reference.get("source", ""))),
    ]
    for key, text in texts:
        fault = fault_of_text(text)
        if not fault and key in ("name", "authors") and not shows_something(text):
            fault = "has no letter or digit"
        if fault:
            yield error("S3", place(entry, "entry.yaml"), f"{key} {fault}: write it plainly")


def name_is_its_own(board: Board, entry: Entry) -> Iterator[Finding]:
    """S3: no other entry of the board has a name that looks the same; a verified one keeps its name."""
    if entry.meta is None or board.entries.is_symlink() or not board.entries.is_dir():
        return
    mine, verified = looks_of(entry.meta.name), _is_verified(entry.folder)
    for folder in sorted(board.entries.iterdir()):
        if folder.name == entry.slug or not mine & _looks_in(folder):
            continue
        keeps = verified and not (folder.name < entry.slug and _is_verified(folder))
        if not keeps:
            wrong = f"name looks like that of entries/{folder.name}: choose another"
            yield error("S3", place(entry, "entry.yaml"), wrong)
            return


def _is_verified(folder: Path) -> bool:
    return os.path.lexists(ledger_file(folder))


def _looks_in(folder: Path) -> frozenset[str]:
    """What the name in an entry's folder looks like; empty where it cannot be read."""
    path = folder / "entry.yaml"
    try:
        stat = path.lstat()
    except OSError:
        return frozenset()
    return _looks_of_file(path, (stat.st_mtime_ns, stat.st_size))


@cache
def _looks_of_file(path: Path, stamp: tuple[int, int]) -> frozenset[str]:
    try:
        return looks_of(parse_meta(path).name)
    except (FileError, ClbenchError):
        return frozenset()


RULES: tuple[Check, ...] = (texts_can_be_read, name_is_its_own)
