"""The validator: every rule is a small function, and all of them run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from clbench.configure.board import Board
from clbench.leaderboard.entry import MAX_ENTRIES, Entry, iter_entries, load_entry
from clbench.leaderboard.rules import measures, protocol, structure
from clbench.leaderboard.rules.findings import Check, Finding, error, place, warning
from clbench.leaderboard.scores import score

CHECKS: tuple[Check, ...] = (
    structure.folder_name,  # S1
    structure.folder_shape,
    structure.file_names_tell_seeds,
    structure.files_have_their_form,  # S2, S3
    structure.entry_yaml_is_sound,  # S3
    protocol.runs_are_of_the_board,  # C1
    protocol.settings_are_the_boards,  # C1, B1
    protocol.streams_are_the_boards,
    protocol.closed_means_from_scratch,
    protocol.seeds_are_the_boards,  # C2
    protocol.seeds_ran_the_same,
    protocol.settings_have_their_hash,
    protocol.no_run_is_shown_twice,
    protocol.source_is_what_ran,  # C3
    protocol.verification_is_of_these_runs,
    protocol.code_is_committed,  # C4
    measures.metrics_follow_from_counts,  # M1
    measures.evaluations_are_on_schedule,  # M2
    measures.tasks_are_whole,
    measures.runs_have_one_shape,
    measures.failed_runs_are_told,  # B1, M2
    measures.budget_is_kept,  # B1
    measures.costs_are_possible,  # B2
    measures.nothing_is_too_good,  # P1
    protocol.tuning_follows_the_rules,  # T1
)
"""The rules for one entry. P2 needs the entry's earlier state (``changes``); R1, that the pages are up
to date, concerns a whole board (``clbench leaderboard --check``)."""

FILES = ("board.yaml", "draft.yaml", "README.md", "leaderboard.csv", "index.html", "entries")


def validate(board: Board, entry: Entry) -> list[Finding]:
    """Collect all findings about an entry; it is valid if none is an error."""
    return [finding for check in CHECKS for finding in check(board, entry)]


def validate_board(board: Board, against: Board | None = None) -> Iterator[Finding]:
    """Yield all findings about a board's folder and its entries.

    Args:
        board: the board.
        against: an earlier state of the board, for rule P2.
    """
    yield from _stray_files(board)
    first: dict[str, str] = {}
    for entry in iter_entries(board):
        yield from validate(board, entry)
        yield from _same_answers(entry, first)
        if against is not None:
            yield from changes(board, against, entry)


def changes(board: Board, against: Board, entry: Entry) -> Iterator[Finding]:
    """P2: the primary of an existing entry changes only with source, settings or protocol."""
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
