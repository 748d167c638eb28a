"""The validator: every rule is a small function, and all of them run."""

from __future__ import annotations

import dataclasses
import importlib
import os
import pkgutil
import re
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from clbench.configure.board import Board
from clbench.leaderboard import rules as package
from clbench.leaderboard.entry import MAX_ENTRIES, Entry, iter_entries, load_entry, unjudged
from clbench.leaderboard.rules import measures
from clbench.leaderboard.rules.findings import Check, Finding, error, place, run_place, warning
from clbench.leaderboard.scores import score

FIRST = ("structure", "protocol", "measures", "tuning")
"""The modules whose rules come first, in this order; those of any other module follow by name."""

FILES = (
    *("board.yaml", "draft.yaml", "README.md", "leaderboard.csv", "index.html", "withdrawn.md"),
    "entries",
    "verified",
    "contested",
)


@cache
def rules(path: tuple[str, ...]) -> tuple[Check, ...]:
    """The rules for one entry: the ``RULES`` of every module in the folders of this package.

    P2 needs the entry's earlier state (``changes``); R1, that the pages are up to date, concerns a
    whole board (``clbench leaderboard --check``).
    """
    names = sorted(module.name for module in pkgutil.iter_modules([*path]))
    names = [*FIRST, *(name for name in names if name not in FIRST and name != "validate")]
    modules = (importlib.import_module(f"clbench.leaderboard.rules.{name}") for name in names)
    return tuple(rule for module in modules for rule in getattr(module, "RULES", ()))


def validate(board: Board, entry: Entry) -> list[Finding]:
    """Collect all findings about an entry; it is valid if none is an error."""
    found = rules((*package.__path__,))
    return [finding for rule in found for finding in _judged(rule, board, entry)]


def _judged(rule: Check, board: Board, entry: Entry) -> list[Finding]:
    """What a rule finds; a record on which it fails is a finding, and the others are judged."""
    try:
        return [*rule(board, entry)]
    except Exception as why:
        first = why
    name = _name(rule)
    wrong: dict[int, Finding] = {}
    for seed, record in entry.records.items():
        try:
            [*rule(board, dataclasses.replace(entry, records={seed: record}))]
        except Exception as why:
            wrong[seed] = error(name, run_place(entry, seed), unjudged(why))
    others = {seed: record for seed, record in entry.records.items() if seed not in wrong}
    try:
        if wrong:
            return [*wrong.values(), *rule(board, dataclasses.replace(entry, records=others))]
    except Exception as why:
        first = why
    return [*wrong.values(), error(name, place(entry), unjudged(first))]


def _name(rule: Check) -> str:
    """The rule as findings name it: the first word of its docstring, such as ``C1``."""
    found = re.match(r"[A-Z]\d", rule.__doc__ or "")
    return found[0] if found else "S2"


def validate_board(board: Board, against: Board | None = None) -> Iterator[Finding]:
    """Yield all findings about a board's folder and its entries.

    Args:
        board: the board.
        against: an earlier state of the board, for rule P2.
    """
    yield from _stray_files(board)
    yield from _stray_ledgers(board, "verified")
    yield from _stray_ledgers(board, "contested")
    first: dict[str, str] = {}
    for entry in iter_entries(board):
        yield from validate(board, entry)
        yield from _same_answers(entry, first)
        if against is not None:
            yield from changes(board, against, entry)


def changes(board: Board, against: Board, entry: Entry) -> list[Finding]:
    """P2: the primary of an existing entry changes only with source, settings or protocol."""

    def rule(board: Board, entry: Entry) -> Iterator[Finding]:
        """P2: as above."""
        yield from _changes(board, against, entry)

    return _judged(rule, board, entry)


def _changes(board: Board, against: Board, entry: Entry) -> Iterator[Finding]:
    folder = against.entries / entry.slug
    if not (folder / "entry.yaml").is_file() or against.protocol != board.protocol:
        return
    old = load_entry(folder)
    was, now = score(board, old), score(board, entry)
    for seed in board.seeds:
        before, after = old.records.get(seed), entry.records.get(seed)
        if before is None or abs(was[seed] - now[seed]) <= measures.TOLERANCE:
            continue
        if after and (before.sources, before.config_sha256) != (after.sources, after.config_sha256):
            continue
        wrong = f"{board.primary} was {was[seed]:.6f} and is {now[seed]:.6f} with the same source"
        file = place(entry, f"runs/seed{seed}.json")
        yield error("P2", file, f"{wrong} and settings: restore the record, or enter it again")


def _stray_files(board: Board) -> Iterator[Finding]:
    """S1: a board's folder holds only the protocol, generated pages and entries."""
    for name, mode in _inside(board.folder):
        if stat.S_ISLNK(mode):
            yield error("S1", name, "is a link: put the file itself here")
        elif name not in FILES:
            yield error("S1", name, f"does not belong here: remove it ({', '.join(FILES)})")
    folded: dict[str, str] = {}
    for number, (name, mode) in enumerate(_inside(board.entries)):
        file = f"entries/{name}"
        if number >= MAX_ENTRIES:
            yield error("S1", "entries", f"holds more than {MAX_ENTRIES} entries")
            return
        if not stat.S_ISDIR(mode):
            yield error("S1", file, "is a file or link among the entries: remove it")
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            wrong = (
                f"differs from {other!r} in case alone: many systems cannot hold both; rename it"
            )
            yield error("S1", file, wrong)


def _stray_ledgers(board: Board, name_of: str) -> Iterator[Finding]:
    """S1: the ledger holds the board's pin and a file for entries that exist; so does ``contested``."""
    folder = board.folder / name_of
    for name, mode in _inside(folder):
        slug = name.removesuffix(".json")
        if not stat.S_ISREG(mode) or not name.endswith(".json"):
            yield error("S1", f"{name_of}/{name}", "is no file of the ledger: remove it")
        elif (name_of, name) != ("verified", "board.json") and not (board.entries / slug).is_dir():
            yield error("S1", f"{name_of}/{name}", f"is of no entry {slug!r}: remove it")


def _inside(folder: Path) -> list[tuple[str, int]]:
    """Names in a folder with their modes, links not followed; empty if it is no folder."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        return sorted((f.name, f.stat(follow_symlinks=False).st_mode) for f in found)


def _same_answers(entry: Entry, first: dict[str, str]) -> Iterator[Finding]:
    """C2: two entries with identical predictions are one entry, or one has no effect."""
    for seed, record in entry.records.items():
        other = first.setdefault(record.predictions_sha256 or f"{entry.slug} {seed}", entry.slug)
        if other != entry.slug:
            wrong = (
                f"has the predictions of entries/{other}: the settings that differ change nothing"
            )
            yield warning("C2", place(entry, f"runs/seed{seed}.json"), wrong)
            return
