"""The tables of ``scale.py`` and ``start.py`` in ``docs/scale.md``, each between two marks."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clbench.engine.resolved import resolved
from clbench.util.atomic import write_atomically

DOCS = Path(__file__).parent.parent / "docs"
EARLY = (1_000, 10_000)
"""Tasks that the last tenth is compared with."""
FLAT, GROWN, SHOWN = 1.05, 20.0, 2.0
"""Targets: ratio of times, MB of growth, CPU seconds of ``clbench results`` beyond a short run's."""
LONG = ("scenario=scole", "scenario.n_tasks=100000", "eval_every=log", "strategy=naive,ewc,er")


def stream_row(name: str, found: Mapping[str, Any], every: int) -> str:
    """A long stream's row: times early and late, growth, bytes, ``clbench results``."""
    n = found["tasks"] // every
    seconds, yards = found["seconds"][:n], found["yards"][:n]
    early = slice(EARLY[0] // every, EARLY[1] // every)
    late = slice(n - n // 10, n)

    def ms(part: slice) -> float:
        return 1e3 * statistics.median(seconds[part]) / every

    in_yards = [a / b for a, b in zip(seconds, yards, strict=True)]
    ratio = ms(late) / ms(early)
    beside = statistics.median(in_yards[late]) / statistics.median(in_yards[early])
    grown = (found["memory"][n - 1] - found["memory"][early.start - 1]) / 1e6
    shown = {key: statistics.median(values) for key, values in found["results"].items()}
    size = found["bytes"]
    return (
        f"| {name} | {found['tasks']:,} | {ms(early):.2f} | {ms(late):.2f} | {ratio:.2f} | "
        f"{beside:.2f} | {grown:.1f} | {size['record'] / 1e3:.0f} | {size['curve'] / 1e3:.0f} | "
        f"{size['checkpoint'] / 1e3:.0f} | {shown['long']:.2f} / {shown['two tasks']:.2f} |"
    )


def streams(found: Mapping[str, Mapping[str, Any]], every: int) -> list[str]:
    """The table of long streams."""
    return [
        "| strategy | tasks | early, ms a task | late, ms a task | late / early | in yardsticks | "
        "growth, MB | record, kB | curve, kB | checkpoint, kB | `results`, s |",
        "| --- |" + " ---: |" * 10,
        *(stream_row(name, one, every) for name, one in found.items()),
    ]


def worlds(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table of many views and many cells."""
    lines = [
        "| run | evaluations | views | cells | growth, MB | record, kB | metrics, s | `results`, s |",
        "| --- |" + " ---: |" * 7,
    ]
    for name, one in found.items():
        shown = {key: statistics.median(values) for key, values in one["results"].items()}
        lines.append(
            f"| {name} | {one['evaluations']:,} | {one['views']:,} | {one['cells']:,} | "
            f"{one['grown'] / 1e6:.0f} | {one['bytes']['record'] / 1e3:,.0f} | "
            f"{one['metrics_seconds']:.2f} | {shown['long']:.2f} / {shown['two tasks']:.2f} |"
        )
    return lines


def put(page: Path, mark: str, command: str, words: Sequence[str], lines: Sequence[str]) -> None:
    """Rewrite the part of a page between two marks: command and network, then the lines.

    Args:
        page: the page.
        mark: the name of the marks.
        command: what made the lines.
        words: of the runs, whose network is shown; none: the text names it.
        lines: the table.

    Raises:
        SystemExit: the page lacks a mark.
    """
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{page.name}: has not both marks, {begin} and {end}")
    above = [f"<!-- command: {command} -->", ""]
    if words:
        above += [f"<!-- resolved: {' '.join(words)} -->", *resolved(words), ""]
    text = "\n".join([*above, *lines])
    write_atomically(page, f"{before}{begin}\n\n{text}\n\n{end}{after}".encode())


def write(out: Path, every: int, names: Sequence[str]) -> None:
    """Write the tables of all measurements that are in a folder."""
    known = {p.stem: json.loads(p.read_text()) for p in sorted(out.glob("*.json"))}
    long = {name: known[name] for name in names if name in known}
    wide = {name: known[name] for name in ("views", "world") if name in known}
    page = DOCS / "scale.md"
    if long:
        words = (*LONG[:-1], f"strategy={','.join(long)}")
        put(page, "streams", "python -m benchmarks.scale", words, streams(long, every))
    if wide:
        command = f"python -m benchmarks.scale {' '.join(f'--only {name}' for name in wide)}"
        put(page, "worlds", command, (), worlds(wide))
