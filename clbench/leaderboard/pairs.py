"""Compares two sets of runs, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clbench.configure.board import Board
from clbench.errors import UsageError
from clbench.leaderboard.entry import load_entry, refuse_without_entries
from clbench.leaderboard.ranking import Comparison, compare
from clbench.plugins.registry import did_you_mean
from clbench.results import repeats
from clbench.results.record import Record
from clbench.results.tables import columns


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a name and the record of each seed."""

    name: str
    records: Mapping[int, Record]
    repeated: tuple[str, ...] = ()
    """A line for each run that several of its files hold."""


class SeedPair(NamedTuple):
    """Both values on one seed; a failed run counts 0 where the metric is the board's primary."""

    seed: int
    a: float
    b: float


class Pairing(NamedTuple):
    """The pairs to compare."""

    pairs: list[SeedPair]
    left_out: list[str]
    """Seeds that are left out, with the reason."""
    result: Comparison
    alike: tuple[int, ...] = ()
    """Seeds on which both sides gave the same answers: one run, or two that do not differ."""


def find_side(word: str, board: Board | None) -> Side:
    """Find runs by run folder (``seed*/record.json``), entry folder, or an entry's slug on a board.

    Raises:
        UsageError: nothing is found, or it cannot be read.
    """
    folder = Path(word)
    paths = sorted(folder.glob("seed*/record.json"))
    if paths:
        found = [Record.load(path) for path in paths]
        name = folder.name or folder.resolve().name
        return Side(name, *_once([path.parent.name for path in paths], found))
    if not (folder / "runs").is_dir() and board is not None:
        refuse_without_entries(board)
        folder = board.entries / word
    if not (folder / "runs").is_dir() or folder.is_symlink() or ".." in Path(word).parts[1:]:
        names = (
            [p.name for p in board.entries.glob("*")] if board and board.entries.is_dir() else []
        )
        hint = did_you_mean(word, names)
        where = (
            f"an entry of {board.name}{hint}"
            if board
            else "an entry's folder (or a slug with --board)"
        )
        raise UsageError(f"{word}: is neither a run folder with seed*/record.json nor {where}")
    entry = load_entry(folder)
    if not entry.records:
        problem = entry.problems[0] if entry.problems else "no runs/seed<k>.json"
        raise UsageError(f"{word}: holds no record: {problem}")
    files = [f"seed{seed}.json" for seed in entry.records]
    name = entry.meta.name if entry.meta else entry.slug
    return Side(name, *_once(files, list(entry.records.values())))


def _once(names: list[str], records: list[Record]) -> tuple[dict[int, Record], tuple[str, ...]]:
    """The records by seed, each run once, and a line for each run that several files hold."""
    left = repeats.without_repeats(records)
    return {record.seed: record for record in left}, tuple(repeats.notes(names, records))


def pair(a: Side, b: Side, metric: str, *, failed_is_zero: bool) -> Pairing:
    """Compare on the seeds that both have.

    Args:
        a: the first; the difference is a less b.
        b: the second.
        metric: a metric or cost.
        failed_is_zero: count an incomplete run as 0; false: leave it out.

    Raises:
        UsageError: no common seeds, or different streams.
    """
    known = {column.key for column in columns()}
    if metric not in known:
        raise UsageError(f"unknown metric {metric!r}{did_you_mean(metric, known)}")
    common = sorted(set(a.records) & set(b.records))
    if not common:
        raise UsageError(
            f"no common seeds: {a.name} has {_list(a)}, {b.name} has {_list(b)}; "
            "run the missing ones"
        )
    pairs: list[SeedPair] = []
    alike: list[int] = []
    left_out = [f"{side.name}: {line}" for side in (a, b) for line in side.repeated]
    for seed in common:
        x, y = a.records[seed], b.records[seed]
        _refuse_other_streams(seed, x, y)
        if x.predictions_sha256 and x.predictions_sha256 == y.predictions_sha256:
            alike.append(seed)
        values = [_value(record, metric, failed_is_zero) for record in (x, y)]
        if values[0] is None or values[1] is None:
            left_out.append(f"seed {seed}: {_why(x, metric)} and {_why(y, metric)}")
        else:
            pairs.append(SeedPair(seed, values[0], values[1]))
    for side, other in ((a, b), (b, a)):
        alone = sorted(set(side.records) - set(other.records))
        left_out += [f"seed {seed}: only {side.name} has it" for seed in alone]
    if not pairs:
        raise UsageError(f"{metric} is not defined on any common seed: {left_out[0]}")
    result = compare([p.a for p in pairs], [p.b for p in pairs])
    return Pairing(pairs, left_out, result, tuple(alike))


def _refuse_other_streams(seed: int, x: Record, y: Record) -> None:
    """The chain goes as far as the run did: of runs that ended early only the pools tell."""
    whole = x.status == y.status == "completed"
    if x.pool_sha256 != y.pool_sha256 or (whole and x.stream_sha256 != y.stream_sha256):
        raise UsageError(
            f"seed {seed}: the two runs have different streams; compare runs of one scenario, "
            "data set and version"
        )


def _value(record: Record, metric: str, failed_is_zero: bool) -> float | None:
    if record.status != "completed":
        return 0.0 if failed_is_zero else None
    try:
        value = record.metric(metric)
    except (LookupError, TypeError):
        return None
    return float(value) if isinstance(value, int | float) else None


def _why(record: Record, metric: str) -> str:
    return f"{metric} undefined" if record.status == "completed" else str(record.status)


def _list(side: Side) -> str:
    return " ".join(map(str, sorted(side.records)))
