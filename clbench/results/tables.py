"""Rows as tables: for people, as Markdown, CSV and JSON. LaTeX is in ``clbench.results.latex``."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean
from clbench.results.breakdown import factors_to_markdown as factors_to_markdown
from clbench.results.breakdown import groups_to_markdown as groups_to_markdown
from clbench.results.columns import Column as Column
from clbench.results.columns import columns as columns
from clbench.results.columns import columns_of as columns_of
from clbench.results.columns import definitions as definitions
from clbench.results.intervals import Interval as Interval
from clbench.results.intervals import t_interval as t_interval
from clbench.results.summary import Row as Row
from clbench.results.summary import load_all as load_all
from clbench.results.summary import summarise as summarise
from clbench.util import grid
from clbench.util.console import one_line, wrapped
from clbench.util.grid import Head
from clbench.util.text import as_exact_cell, escape_pipe

INTERVAL = "mean ± 95 % Student-t interval"


def cell(column: Column, interval: Interval) -> str:
    """``97.3 ± 0.6``; a dash where undefined.

    ``94.4 [76.5, 100.0]`` where the interval reaches past what is possible, and is cut there.
    """
    if interval.mean is None:
        return "–"
    text = _number(column, interval.mean)
    half = interval.half_width
    if half is None:
        return text
    low, high = interval.mean - half, interval.mean + half
    least, most = column.span
    slack = 0.5 * 10.0**-column.digits / column.scale  # what is shown is rounded
    if (low >= least - slack and high <= most + slack) or not least <= interval.mean <= most:
        return f"{text} ± {_number(column, half)}"
    return f"{text} [{_number(column, max(low, least))}, {_number(column, min(high, most))}]"


def _number(column: Column, value: float) -> str:
    return f"{value * column.scale:.{column.digits}f}"


def narrow(rows: Sequence[Row]) -> list[Column]:
    """The columns of a narrow table."""
    return [c for c in columns_of(row.values for row in rows) if c.main]


def chosen(names: str) -> list[Column]:
    """The columns that ``--columns`` names, by commas, in its order.

    Raises:
        UsageError: there is no such column, with the nearest name.
    """
    return [named(name.strip(), "--columns") for name in names.split(",")]


def named(name: str, option: str) -> Column:
    """A column by its key, such as ``world_accuracy``, or by the title of its head.

    Raises:
        UsageError: there is none, with the nearest name.
    """
    known = {c.key: c for c in columns()}
    titles = {title: c for c in known.values() for title in (c.title, c.title.partition(" %")[0])}
    if name not in known and name not in titles:
        hint = did_you_mean(name, [*known, *titles])
        raise UsageError(
            f"{option} {name}: no such column{hint} (clbench results DIR --format csv)"
        )
    return known.get(name) or titles[name]


def ordered(rows: Sequence[Row], by: str) -> list[Row]:
    """The rows of each scenario, the best in a column first; ``strategy``: by name.

    Rows without a value come last.

    Raises:
        UsageError: there is no such column.
    """
    scenarios = [*dict.fromkeys(row.scenario for row in rows)]
    if by == "strategy":
        return sorted(rows, key=lambda row: (scenarios.index(row.scenario), row.name))
    column = named(by, "--sort")
    sign = -1.0 if column.better == "higher" else 1.0

    def key(row: Row) -> tuple[int, float]:
        mean = row.values[column.key].mean
        return scenarios.index(row.scenario), math.inf if mean is None else sign * mean

    return sorted(rows, key=key)


def best(rows: Sequence[Row], shown: Sequence[Column]) -> set[tuple[int, str]]:
    """Which cells are the best of their scenario: ``{(row's number, column's key)}``.

    Those that show the same mean are all the best; where all do, or there is one row, none is.
    """
    found = set()
    for scenario in {row.scenario for row in rows}:
        for column in shown:
            means = {
                at: _number(column, mean)
                for at, row in enumerate(rows)
                if row.scenario == scenario and (mean := row.values[column.key].mean) is not None
            }
            if column.better and len(set(means.values())) > 1:
                choose = max if column.better == "higher" else min
                top = choose(means.values(), key=float)
                found |= {(at, column.key) for at, text in means.items() if text == top}
    return found


def caption(rows: Sequence[Row]) -> str:
    """What the numbers of a table are: the interval, and of how many seeds."""
    ns = sorted({len(row.seeds) for row in rows})
    seeds = f"n = {ns[0]} seed{'s' * (ns[0] != 1)}" if len(ns) == 1 else "n seeds"
    return f"{INTERVAL} over {seeds}"


def notes(rows: Sequence[Row], shown: Sequence[Column] | None = None) -> list[tuple[str, str]]:
    """What stands below a table: titles of columns with their definitions, or why they have a dash.

    Also how an interval is shown that was cut, and why some are wide.
    """
    shown = narrow(rows) if shown is None else shown
    empty = [
        (c.title, f"– where {c.dash}")
        for c in shown
        if c.dash and any(row.seeds and row.values[c.key].mean is None for row in rows)
    ]
    cells = [cell(c, row.values[c.key]) for row in rows for c in shown]
    cut = [("[low, high]", "an interval that ends at what is possible")]
    few = [("n = 2", "two seeds make intervals about 7 times as wide as five do; more: seed=0..4")]
    return [
        *definitions(shown),
        *empty,
        *(cut if any("[" in text for text in cells) else []),
        *(few if any(len(row.seeds) == 2 for row in rows) else []),
    ]


def definitions_to_markdown(rows: Sequence[Row], shown: Sequence[Column] | None = None) -> str:
    """What stands below a Markdown table: a line on each of its columns that has a definition."""
    found = notes(rows, shown)
    return "".join(f"- **{escape_pipe(title)}**: {definition}\n" for title, definition in found)


def definitions_to_text(rows: Sequence[Row], shown: Sequence[Column] | None = None) -> str:
    """What stands below a narrow table: a line on each of its columns that has a definition."""
    return "".join(f"{title}: {definition}\n" for title, definition in notes(rows, shown))


def cells(rows: Sequence[Row], shown: Sequence[Column]) -> tuple[list[str], list[list[str]]]:
    """The head and the body of a table; a column says the scenario where there are several."""
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


def to_markdown(
    rows: Sequence[Row], shown: Sequence[Column] | None = None, *, bold: bool = False
) -> str:
    """A Markdown table of the main columns, or of those given.

    Args:
        rows: the arms.
        shown: the columns; None: the main ones.
        bold: whether the best of each scenario is in bold.
    """
    shown = narrow(rows) if shown is None else shown
    head, body = cells(rows, shown)
    body = [[escape_pipe(text) for text in line] for line in body]
    first = len(head) - len(shown)
    for at, key in best(rows, shown) if bold else ():
        for number, column in enumerate(shown, first):
            if column.key == key:
                body[at][number] = f"**{body[at][number]}**"
    lines = [[escape_pipe(t) for t in head], ["---"] * 2 + ["---:"] * (len(head) - 2), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def to_csv(rows: Sequence[Row], shown: Sequence[Column] | None = None) -> str:
    """Every metric and cost in base units (shares, bytes, seconds): mean, half width, n."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = [c.key for c in (columns() if shown is None else shown)]
    parts = [f"{key}{suffix}" for key in keys for suffix in ("", "_half_width", "_n")]
    writer.writerow(["scenario", "strategy", "seeds", "failed", *parts])
    for row in rows:
        values = ["" if v is None else v for key in keys for v in row.values[key]]
        seeds = " ".join(map(str, row.seeds))
        texts = [as_exact_cell(text) for text in (row.scenario, row.name)]
        writer.writerow([*texts, seeds, "; ".join(row.failed), *values])
    return out.getvalue()


def to_json(rows: Sequence[Row], shown: Sequence[Column] | None = None) -> str:
    """Every metric and cost in base units."""
    keys = [c.key for c in (columns() if shown is None else shown)]
    data = [
        {
            "scenario": row.scenario,
            "strategy": row.name,
            "seeds": list(row.seeds),
            "failed": list(row.failed),
            "values": {key: row.values[key]._asdict() for key in keys},
        }
        for row in rows
    ]
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def print_table(
    rows: Sequence[Row], stream: Any = None, shown: Sequence[Column] | None = None
) -> None:
    """A table for people; on a terminal, columns that have no room are left out from the right.

    Names are cut before a column of ``shown`` is left out.
    """
    asked = shown is not None
    shown = narrow(rows) if shown is None else shown
    head, body = cells(rows, shown)
    first = [title in ("scenario", "strategy") for title in head]
    kept = first.index(False) + 2  # the number of seeds and the first metric stay
    grid.print_table(
        [
            Head(t, right=not left, stays=at < kept, asked=asked and not left)
            for at, (t, left) in enumerate(zip(head, first, strict=True))
        ],
        body,
        caption=f"{INTERVAL} over n seeds",
        more="clbench results DIR --format md has them",
        stream=stream,
    )
    for line in definitions_to_text(rows, shown).splitlines():
        print(wrapped(line, stream or sys.stdout, "  "), file=stream)
    for row in rows:
        for failure in row.failed:
            print(one_line(f"{row.name} {failure}"), file=stream)
