"""Rules S1 to S3: the files of an entry and their form."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from clbench.configure.board import Board
from clbench.leaderboard.entry import DECLARATIONS, RUN_FILE, SLUG, Entry, ledger_file
from clbench.leaderboard.rules.findings import Check, Finding, error, ledger_place, place, run_place
from clbench.plugins.registry import did_you_mean
from clbench.util.files import MAX_BYTES

SOURCES = ("strategy", "model")
"""The groups whose source an entry brings."""
FILES = ("entry.yaml", "strategy.py", "model.py", "tuning.json")
MAX_SOURCE_BYTES = 1 << 16
"""Largest size of a source: an idea fits, and trained weights hardly do."""
MAX_ENTRY_BYTES = 16 << 20
MAX_FILES = 120
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows reserves for devices; a checkout with such a folder fails there."""


def folder_name(board: Board, entry: Entry) -> Iterator[Finding]:
    """S1: the folder has a name that is the same on every system."""
    if not SLUG.fullmatch(entry.slug):
        yield error("S1", place(entry), "rename the folder: a-z, 0-9, - and _ only, at most 60")
    elif RESERVED.fullmatch(entry.slug):
        yield error(
            "S1", place(entry), "rename the folder: Windows reserves this name for a device"
        )


def folder_shape(board: Board, entry: Entry) -> Iterator[Finding]:
    """S1: the folder holds only the files of an entry, none of them a link or too large."""
    total = 0
    for number, (name, status) in enumerate(walk(entry.folder)):
        if number >= MAX_FILES:
            yield error(
                "S1", place(entry), f"holds more than {MAX_FILES} files: submit records only"
            )
            return
        fault = _fault(name, status)
        if fault:
            yield error("S1", place(entry, name), fault)
        elif stat.S_ISREG(status.st_mode):
            total += status.st_size
    if total > MAX_ENTRY_BYTES:
        yield error("S1", place(entry), f"holds {total >> 20} MiB; at most {MAX_ENTRY_BYTES >> 20}")


def sources_are_there(board: Board, entry: Entry) -> Iterator[Finding]:
    """S1: each source is in one place: a shared file with the content that its name says, or here."""
    hashes = entry.meta.sources if entry.meta else {}
    for group in SOURCES:
        beside = os.path.lexists(entry.folder / f"{group}.py")
        sha = hashes.get(group)
        if sha and beside:
            wrong = "is here, and entry.yaml names a shared source: remove one of the two"
            yield error("S1", place(entry, f"{group}.py"), wrong)
        fault = shared_fault(entry.source_of(group)) if sha else ""
        if fault:
            wrong = f"sources.{group}: sources/{sha}.py {fault}: clbench submit writes it"
            yield error("S1", place(entry, "entry.yaml"), wrong)
        unknown = entry.meta is None and os.path.lexists(entry.folder / "entry.yaml")
        if group == "strategy" and not (sha or beside or unknown):
            yield error("S1", place(entry, "strategy.py"), "is missing: clbench submit copies it")


def source_place(entry: Entry, group: str) -> str:
    """The file to name in a finding about a source."""
    shared = entry.meta and entry.meta.sources.get(group)
    return place(entry, "entry.yaml" if shared else f"{group}.py")


def shared_fault(path: Path) -> str:
    """What is wrong with a shared source; empty if it is what its name says."""
    try:
        status = path.lstat()
    except OSError:
        return "is missing"
    if not stat.S_ISREG(status.st_mode):
        return "is a link, folder or device"
    if status.st_size > MAX_SOURCE_BYTES:
        return f"is larger than {MAX_SOURCE_BYTES >> 10} KiB"
    if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
        return "holds other content than its name says"
    return ""


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything in a folder and in its ``runs``, links not followed, as (relative name, status)."""
    for prefix, here in (("", folder), ("runs/", folder / "runs")):
        if here.is_symlink() or not here.is_dir():
            continue
        with os.scandir(here) as found:
            for item in sorted(found, key=lambda f: f.name):
                yield prefix + item.name, item.stat(follow_symlinks=False)


def _fault(name: str, status: os.stat_result) -> str:
    """The fault of an item in an entry's folder; empty if it belongs there."""
    if stat.S_ISLNK(status.st_mode):
        return "is a link: put the file itself here"
    if stat.S_ISDIR(status.st_mode):
        return "" if name == "runs" else "is a folder that does not belong here: remove it"
    if not stat.S_ISREG(status.st_mode):
        return "is a device, pipe or socket: remove it"
    is_run = name.startswith("runs/") and RUN_FILE.fullmatch(name.removeprefix("runs/"))
    if name == "verified.json":
        return (
            "is no evidence: remove it (clbench verify writes verified/<entry>.json of the board)"
        )
    if name not in FILES and not is_run:
        return "does not belong here: remove it (entry.yaml, strategy.py, runs/seed<k>.json)"
    limit = MAX_SOURCE_BYTES if name.endswith(".py") else MAX_BYTES
    return (
        f"is larger than {limit >> 10} KiB: submit records only" if status.st_size > limit else ""
    )


def file_names_tell_seeds(board: Board, entry: Entry) -> Iterator[Finding]:
    """S1: ``runs/seed3.json`` is the record of seed 3."""
    for seed, record in entry.records.items():
        if record.seed != seed:
            wrong = f"is the record of seed {record.seed}: copy each record under its own seed"
            yield error("S1", run_place(entry, seed), wrong)


def files_have_their_form(board: Board, entry: Entry) -> Iterator[Finding]:
    """S2 of records, S3 of entry.yaml: every field is known, typed and in range."""
    for problem in entry.problems:
        inside = problem.file.is_relative_to(entry.folder) and problem.file != entry.folder
        name = problem.file.relative_to(entry.folder).as_posix() if inside else ""
        rule = {"": "S1", "entry.yaml": "S3"}.get(name, "S2")
        if problem.file == ledger_file(entry.folder):
            yield error("S2", ledger_place(entry), problem.message)
            continue
        yield error(rule, place(entry, name), problem.message)


def entry_yaml_is_sound(board: Board, entry: Entry) -> Iterator[Finding]:
    """S3: links are plain web addresses, the division exists, all declarations are true."""
    meta = entry.meta
    if meta is None:
        return
    file = place(entry, "entry.yaml")
    if not meta.name.strip():
        yield error("S3", file, "name is blank: say what is to be shown")
    for key, value in (("url", meta.url), ("code", meta.code)):
        if value and not is_web_address(value):
            yield error(
                "S3", file, f"{key} must be an http:// or https:// address without a password"
            )
    if meta.division not in board.divisions:
        hint = did_you_mean(meta.division, board.divisions)
        yield error("S3", file, f"division must be one of {', '.join(board.divisions)}{hint}")
    for key in DECLARATIONS:
        if meta.declaration.get(key) is not True:
            yield error(
                "S3", file, f"declaration.{key} must be true, else the entry is not comparable"
            )
    for key in set(meta.declaration) - set(DECLARATIONS):
        hint = did_you_mean(key, DECLARATIONS)
        yield error("S3", file, f"declaration has no {key!r}{hint}")
    yield from _paper_reference(entry, file)
    for seed, record in entry.records.items():
        ran = record.config["strategy"]["name"]
        if ran != meta.strategy:
            yield error(
                "S3",
                file,
                f"strategy is {meta.strategy!r} but the run of seed {seed} is of {ran!r}",
            )


def _paper_reference(entry: Entry, file: str) -> Iterator[Finding]:
    assert entry.meta is not None
    kinds = {"value": (int, float), "source": (str,), "comparable": (bool,)}
    for key, value in entry.meta.paper_reference.items():
        if key not in kinds:
            yield error("S3", file, f"paper_reference has no {key!r}{did_you_mean(key, kinds)}")
        elif type(value) not in kinds[key]:
            yield error(
                "S3", file, "paper_reference is {value: number, source: text, comparable: bool}"
            )


def is_web_address(text: str) -> bool:
    """Whether a text is a safe http(s) address: no password, no unusual character."""
    if not text.isascii() or not text.isprintable() or re.search(r"[\s\\<>\"'`{}|^]", text):
        return False
    try:
        parts = urllib.parse.urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    plain = parts.username is None and parts.password is None
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain


RULES: tuple[Check, ...] = (
    folder_name,  # S1
    folder_shape,
    sources_are_there,
    file_names_tell_seeds,
    files_have_their_form,  # S2, S3
    entry_yaml_is_sound,  # S3
)
