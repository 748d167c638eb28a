"""From records to rows: one per arm of a sweep, aggregated over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from clbench.results import repeats
from clbench.results.arms import Arm, by_arm
from clbench.results.columns import columns
from clbench.results.intervals import Interval, t_interval
from clbench.results.record import Record


@dataclass(frozen=True)
class Row:
    """One arm: everything that differs only in its seed."""

    name: str
    scenario: str
    seeds: tuple[int, ...]
    """Of the completed runs, which alone are averaged."""
    failed: tuple[str, ...]
    """``seed 3: diverged``, and so on."""
    values: dict[str, Interval]


def load_all(
    folder: Path, warn: Callable[[str], None], repeated: Callable[[str], None] | None = None
) -> list[Record]:
    """Every run below a folder, once.

    Args:
        folder: searched with all folders in it.
        warn: called with a line for each damaged record, which is left out.
        repeated: called with a line for each run that several folders hold.
    """
    from clbench.errors import ClbenchError

    records, folders = [], []
    for path in sorted(folder.rglob("record.json")):
        try:
            records.append(Record.load(path))
        except ClbenchError as error:
            warn(str(error))
        else:
            folders.append(str(path.parent))
    if repeated is not None:
        for line in repeats.notes(folders, records):
            repeated(line)
    return repeats.without_repeats(records)


def summarise(records: Iterable[Record]) -> list[Row]:
    """One row per arm, in order of first appearance."""
    return rows_of(by_arm(records))


def rows_of(arms: Iterable[Arm]) -> list[Row]:
    """One row per arm."""
    rows, known = [], columns()
    for arm in arms:
        good = [r for r in arm.records if r.status == "completed"]
        bad = [r for r in arm.records if r.status != "completed"]
        values = {}
        for column in known:
            found = [r.metric(column.key) for r in good]
            values[column.key] = t_interval([v for v in found if v is not None])
        rows.append(
            Row(
                name=arm.name,
                scenario=arm.scenario,
                seeds=tuple(r.seed for r in good),
                failed=tuple(f"seed {r.seed}: {r.status}" for r in bad),
                values=values,
            )
        )
    return rows
