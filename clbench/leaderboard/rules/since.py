"""What a contribution may change: new entries and the sources that they name, and nothing else.

``clbench validate --since REF`` asks git what changed, and is run from the base's code: what it looks
at is a stranger's. Contents are read from git's objects, never through links in the working tree.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from clbench.errors import UsageError
from clbench.leaderboard.entry import MAX_ENTRIES, SLUG
from clbench.leaderboard.rules.findings import Finding, error
from clbench.leaderboard.rules.structure import MAX_SOURCE_BYTES
from clbench.util.files import MAX_YAML_BYTES, FileError, parse_yaml

ENTRY = re.compile(
    r"(?P<board>[^/]+)/entries/(?P<slug>[^/]+)/"
    r"(entry\.yaml|strategy\.py|model\.py|tuning\.json|runs/seed(0|[1-9]\d{0,8})\.json)"
)
SOURCE = re.compile(r"sources/(?P<sha>[0-9a-f]{64})\.py")
REGULAR = "100644"
"""The mode of a file that is neither a link, nor a submodule, nor can be run."""
MAX_CHANGES = 5000
MAX_NEW_ENTRIES = 50
"""Entries that one contribution may add: a person looks at each, and each is run."""
SECONDS = 60


class Change(NamedTuple):
    """A path that differs from the base."""

    path: str
    """From the root of the repository."""
    status: str
    """``A`` added, ``M`` modified, ``D`` deleted, ``T`` another kind of file."""
    mode: str
    sha: str
    """Of the blob."""


def changes(root: Path, ref: str) -> list[Change]:
    """What differs between HEAD and where it left a commit.

    Args:
        root: a folder of the repository.
        ref: the base.

    Raises:
        UsageError: it is no repository, or has no such commit.
    """
    base = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    left = _git(root, "merge-base", base.decode().strip(), "HEAD").decode().strip()
    raw = _git(root, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", left, "HEAD")
    parts = raw.decode("utf-8", "surrogateescape").split("\0")[:-1]
    found = []
    for head, path in zip(parts[::2], parts[1::2], strict=True):
        _, mode, _, sha, status = head.lstrip(":").split(" ")
        found.append(Change(path, status[:1], mode, sha))
    return found


def faults(root: Path, ref: str, found: Sequence[Change]) -> Iterator[Finding]:
    """P3: a contribution adds entries and the sources that they name, and changes nothing else.

    Args:
        root: the folder of boards.
        ref: the base.
        found: what differs.
    """
    prefix = _git(root, "rev-parse", "--show-prefix").decode().strip()
    if len(found) > MAX_CHANGES:
        yield error("P3", "", f"changes {len(found)} files; at most {MAX_CHANGES}")
        return
    before = _folders(root, ref)
    added = {(entry.parents[1].name, entry.name) for entry in new_entries(root, found)}
    if len(added) > MAX_NEW_ENTRIES:
        wrong = f"adds {len(added)} entries; at most {MAX_NEW_ENTRIES}: propose the others apart"
        yield error("P3", "", wrong)
        return
    yield from _full_boards(before, added)
    named = _named(root, prefix, found)
    for change in found:
        wrong = _wrong(root, prefix, before, named, change)
        if wrong:
            yield error("P3", change.path.removeprefix(prefix), wrong)


def _full_boards(before: set[str], added: set[tuple[str, str]]) -> Iterator[Finding]:
    """Boards that would hold more entries than are read."""
    there = {(m["board"], m["slug"]) for path in before if (m := ENTRY.fullmatch(path))}
    for board in sorted({board for board, _ in added}):
        n = sum(name == board for name, _ in there | added)
        if n > MAX_ENTRIES:
            yield error("P3", f"{board}/entries", f"would hold {n} entries; at most {MAX_ENTRIES}")


def _named(root: Path, prefix: str, found: Sequence[Change]) -> set[str]:
    """The hashes of sources that the new entries name; a malformed ``entry.yaml`` names none."""
    named: set[str] = set()
    for change in found:
        path = change.path.removeprefix(prefix)
        is_new = change.status == "A" and change.mode == REGULAR
        if not (is_new and ENTRY.fullmatch(path) and path.endswith("/entry.yaml")):
            continue
        if int(_git(root, "cat-file", "-s", change.sha)) > MAX_YAML_BYTES:
            continue
        try:
            text = _git(root, "cat-file", "blob", change.sha).decode()
            sources = parse_yaml(text, Path(path)).get("sources")
        except (FileError, UnicodeDecodeError):
            continue
        named |= {str(sha) for sha in sources.values()} if isinstance(sources, dict) else set()
    return named


def new_entries(root: Path, found: Sequence[Change]) -> list[Path]:
    """The folders of the entries that a contribution adds."""
    prefix = _git(root, "rev-parse", "--show-prefix").decode().strip()
    names = set()
    for change in found:
        match = ENTRY.fullmatch(change.path.removeprefix(prefix))
        if match and change.path.startswith(prefix):
            names.add((match["board"], match["slug"]))
    return [root / board / "entries" / slug for board, slug in sorted(names)]


def _wrong(root: Path, prefix: str, before: set[str], named: set[str], change: Change) -> str:
    """What is wrong with a change; empty if nothing is."""
    path = change.path.removeprefix(prefix)
    if not change.path.startswith(prefix):
        return "is outside the boards: a contribution adds entries alone; propose this apart"
    if "/verified/" in f"/{path}":
        return "is of the ledger: only clbench verify writes there, where the boards are kept"
    entry, source = ENTRY.fullmatch(path), SOURCE.fullmatch(path)
    if entry is None and source is None:
        return (
            "is no file of an entry (BOARD/entries/NAME/..., sources/<sha256>.py): propose it apart"
        )
    if change.status != "A":
        return "was there before: enter a change under a new name"
    if change.mode != REGULAR:
        return "is a link, a submodule or can be run: put the file itself here"
    if entry is not None:
        if not SLUG.fullmatch(entry["slug"]):
            return "has a name that is not of a-z, 0-9, - and _, at most 60"
        if f"{entry['board']}/board.yaml" not in before:
            return f"is of a board {entry['board']!r} that is not here"
        folder = f"{entry['board']}/entries/{entry['slug']}/"
        if any(name.startswith(folder) for name in before):
            return "is of an entry that was there before: enter a change under a new name"
    if source is not None:
        size = int(_git(root, "cat-file", "-s", change.sha))
        if size > MAX_SOURCE_BYTES:
            return f"is larger than {MAX_SOURCE_BYTES >> 10} KiB"
        if hashlib.sha256(_git(root, "cat-file", "blob", change.sha)).hexdigest() != source["sha"]:
            return "holds other content than its name says"
        if source["sha"] not in named:
            return "is named by no entry.yaml of this contribution: remove it, or name it there"
    return ""


def _folders(root: Path, ref: str) -> set[str]:
    """Every path below the boards at the base."""
    raw = _git(root, "ls-tree", "-r", "-z", "--name-only", f"{ref}^{{commit}}", "--", ".")
    return {*raw.decode("utf-8", "surrogateescape").split("\0")}


def _git(root: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as why:
        raise UsageError(f"--since: git does not answer ({why})") from why
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise UsageError(f"--since: git {words[0]} failed in {root}: {said or 'no such commit'}")
    return done.stdout
