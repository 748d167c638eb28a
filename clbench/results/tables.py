"""From records to tables: one row per arm of a sweep, aggregated over its seeds."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clbench.results import classes as by_class
from clbench.results import repeats
from clbench.results.arms import by_arm, labels
from clbench.results.columns import Column as Column
from clbench.results.columns import columns as columns
from clbench.results.columns import columns_of as columns_of
from clbench.results.columns import definitions as definitions
from clbench.results.record import Record
from clbench.util import grid
from clbench.util.console import one_line
from clbench.util.grid import Head
from clbench.util.text import as_exact_cell


class Interval(NamedTuple):
    """Mean and half width of the 95 % Student-t interval over n values; None where undefined."""

    mean: float | None
    half_width: float | None
    n: int


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


def t_interval(values: Sequence[float]) -> Interval:
    """Mean ± 95 % Student-t half width; a bootstrap covers only 73 % at n = 3, 84 % at n = 5."""
    n = len(values)
    if n == 0:
        return Interval(None, None, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, 1)
    from scipy.stats import t

    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    return Interval(mean, float(t.ppf(0.975, n - 1)) * spread / math.sqrt(n), n)


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
    rows = []
    for arm in by_arm(records):
        good = [r for r in arm.records if r.status == "completed"]
        bad = [r for r in arm.records if r.status != "completed"]
        values = {}
        for column in columns():
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


def cell(column: Column, interval: Interval) -> str:
    """``97.3 ± 0.6``; a dash where undefined."""
    if interval.mean is None:
        return "–"
    text = f"{interval.mean * column.scale:.{column.digits}f}"
    if interval.half_width is None:
        return text
    return f"{text} ± {interval.half_width * column.scale:.{column.digits}f}"


def narrow(rows: Sequence[Row]) -> list[Column]:
    """The columns of a narrow table."""
    return [c for c in columns_of(row.values for row in rows) if c.main]


def notes(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What stands below a table: titles of columns with their definitions, or why they have a dash."""
    shown = narrow(rows)
    empty = [
        (c.title, f"– where {c.dash}")
        for c in shown
        if c.dash and any(row.seeds and row.values[c.key].mean is None for row in rows)
    ]
    return [*definitions(shown), *empty]


def definitions_to_markdown(rows: Sequence[Row]) -> str:
    """What stands below a Markdown table: a line on each of its columns that has a definition."""
    shown = notes(rows)
    return "".join(f"- **{_escape_pipe(title)}**: {definition}\n" for title, definition in shown)


def definitions_to_text(rows: Sequence[Row]) -> str:
    """What stands below a narrow table: a line on each of its columns that has a definition."""
    return "".join(f"{title}: {definition}\n" for title, definition in notes(rows))


def _grid(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    shown = narrow(rows)
    several = len({row.scenario for row in rows}) > 1
    head = [*(["scenario"] if several else []), "strategy", "n", *(c.title for c in shown)]
    body = [
        [
            *([row.scenario] if several else []),
            row.name,
            str(len(row.seeds)),
            *(cell(c, row.values[c.key]) for c in shown),
        ]
        for row in rows
    ]
    return head, body


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table of the main columns."""
    head, body = _grid(rows)
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *body]
    return "".join("| " + " | ".join(_escape_pipe(t) for t in line) + " |\n" for line in lines)


def _escape_pipe(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def groups_to_markdown(records: Iterable[Record]) -> str:
    """Final accuracy of each group, a row for each attribute: one Markdown table per arm.

    Means over completed seeds, in percent; arms whose cells are no groups are left out.
    """
    out = []
    arms = by_arm(r for r in records if r.status == "completed" and r.to_counts().groups)
    for name, arm in zip(labels(arms), arms, strict=True):
        counts = [r.to_counts() for r in arm.records]
        mean = sum(100 * c.correct[-1] / c.size for c in counts) / len(counts)
        cells = [(c["domain"], c["label"]) for c in arm.records[0].counts["cells"]]
        accuracy = dict(zip(cells, mean, strict=True))
        attributes, classes = (sorted(set(part)) for part in zip(*cells, strict=True))
        lines = [["attribute", *(_escape_pipe(by_class.title(arm.records[0], c)) for c in classes)]]
        lines += [["---", *["---:"] * len(classes)]]
        lines += [[str(a), *(f"{accuracy[a, c]:.1f}" for c in classes)] for a in attributes]
        table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        out.append(f"{_escape_pipe(name)} (n={len(counts)})\n\n{table}")
    return "\n".join(out)


def factors_to_markdown(records: Iterable[Record]) -> str:
    """Final accuracy by what is known of the test samples, a Markdown table per arm.

    Means over completed seeds, in percent; the factor whose brackets differ most comes first. An
    arm is left out if nothing is known of its samples.
    """
    from clbench.results.factors import final

    out = []
    arms = by_arm(r for r in records if r.status == "completed" and r.factors is not None)
    for name, arm in zip(labels(arms), arms, strict=True):
        known = [r.factors for r in arm.records if r.factors is not None]
        lines = [["factor", "spread", "bracket", "samples", "accuracy %"]]
        lines += [["---", "---:", "---", "---:", "---:"]]
        for found in final(known):
            first = [found.factor, f"{100 * found.spread:.1f}"]
            for row in zip(found.brackets, found.sizes, found.accuracy, strict=True):
                bracket, size, accuracy = row
                lines += [[*first, _escape_pipe(bracket), str(size), f"{100 * accuracy:.1f}"]]
                first = ["", ""]
        table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        out.append(f"{_escape_pipe(name)} (n={len(known)})\n\n{table}")
    return "\n".join(out)


def to_latex(rows: Sequence[Row]) -> str:
    """A booktabs table of the main columns."""
    head, body = _grid(rows)
    lines = [" & ".join(_escape_latex(t) for t in line) + r" \\" for line in (head, *body)]
    spec = "l" * 2 + "r" * (len(head) - 2)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {line}" for line in definitions_to_text(rows).splitlines()),
            "",
        ]
    )


def _escape_latex(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "–": "--",
    }
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in one_line(text))


def to_csv(rows: Sequence[Row]) -> str:
    """Every metric and cost in base units (shares, bytes, seconds): mean, half width, n."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = [c.key for c in columns()]
    parts = [f"{key}{suffix}" for key in keys for suffix in ("", "_half_width", "_n")]
    writer.writerow(["scenario", "strategy", "seeds", "failed", *parts])
    for row in rows:
        values = ["" if v is None else v for key in keys for v in row.values[key]]
        seeds = " ".join(map(str, row.seeds))
        texts = [as_exact_cell(text) for text in (row.scenario, row.name)]
        writer.writerow([*texts, seeds, "; ".join(row.failed), *values])
    return out.getvalue()


def to_json(rows: Sequence[Row]) -> str:
    """Every metric and cost in base units."""
    data = [
        {
            "scenario": row.scenario,
            "strategy": row.name,
            "seeds": list(row.seeds),
            "failed": list(row.failed),
            "values": {key: value._asdict() for key, value in row.values.items()},
        }
        for row in rows
    ]
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def print_table(rows: Sequence[Row], stream: Any = None) -> None:
    """A table for people; on a terminal, columns that have no room are left out from the right."""
    head, body = _grid(rows)
    first = [title in ("scenario", "strategy") for title in head]
    kept = first.index(False) + 2  # the number of seeds and the first metric stay
    grid.print_table(
        [
            Head(t, right=not left, stays=at < kept)
            for at, (t, left) in enumerate(zip(head, first, strict=True))
        ],
        body,
        caption="mean ± 95 % Student-t interval over n seeds",
        more="clbench results DIR --format md has them",
        stream=stream,
    )
    print(definitions_to_text(rows), end="", file=stream)
    for row in rows:
        for failure in row.failed:
            print(one_line(f"{row.name} {failure}"), file=stream)
