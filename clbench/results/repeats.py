"""Finds the same run among records, so that no interval counts it twice.

A run is its identity and its seed, wherever its folder is: a backup, another machine's copy, or a
second run of the same words. Two records of one arm with one seed are therefore one run, also where one
of them ended earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from clbench.results.record import Record


class Repeat(NamedTuple):
    """Records of one run; positions in the sequence that was searched."""

    kept: int
    """The record that counts."""
    others: tuple[int, ...]
    """Those that do not, ascending."""


def arm_of(record: Record) -> tuple[str, ...]:
    """What is equal for two records that differ in their seed only.

    Records from before ``run_sha256`` are distinguished by their marks.
    """
    if record.run_sha256 is not None:
        return (record.run_sha256,)
    return tuple(marks(record).values())


def marks(record: Record) -> dict[str, str]:
    """All that makes a record one of its arm, by the word that a name has for it."""
    return {
        "config": record.config_sha256,
        "source": record.source_sha256,
        "pool": record.pool_sha256,
        "device": str(record.environment["device"]),
        "board": _words(record.board),
        "tuning": _words(record.tuning),
    }


def short(value: Any) -> str:
    """A setting or a hash as a name shows it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value).replace(" ", "")
    is_hash = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return text[:8] if is_hash else text


def _words(values: dict[str, Any] | None) -> str:
    return "none" if values is None else "/".join(short(value) for value in values.values())


def repeats(records: Sequence[Record]) -> list[Repeat]:
    """The runs that several of the records are of, in order of first appearance.

    The one that counts is completed if any is; among those it is the longest, then the first.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for at, record in enumerate(records):
        groups.setdefault((*arm_of(record), str(record.seed)), []).append(at)
    found = []
    for members in groups.values():
        if len(members) > 1:
            kept = max(members, key=lambda at: (*_extent(records[at]), -at))
            found.append(Repeat(kept, tuple(at for at in members if at != kept)))
    return found


def _extent(record: Record) -> tuple[bool, int]:
    return record.status == "completed", int(record.stream["experiences"])


def without_repeats(records: Iterable[Record]) -> list[Record]:
    """The records in their order, one for each run."""
    given = list(records)
    left_out = {at for repeat in repeats(given) for at in repeat.others}
    return [record for at, record in enumerate(given) if at not in left_out]


def notes(names: Sequence[str], records: Sequence[Record]) -> list[str]:
    """A line for each run that several places hold.

    Args:
        names: of the places, such as folders, in the order of the records.
        records: as they were found.
    """
    lines = []
    for kept, others in repeats(records):
        same = {records[at].predictions_sha256 for at in (kept, *others)}
        alike = "" if len(same) == 1 else "; their answers differ"
        holds = "hold" if len(others) > 1 else "holds"
        lines.append(
            f"{', '.join(names[at] for at in others)} {holds} the same run as {names[kept]}, which "
            f"counts once{alike}"
        )
    return lines
