"""The details of an arm: its matrices, its runs, settings and costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clbench.report import drawing, measures
from clbench.results import tables
from clbench.results.arms import Arm
from clbench.results.record import Record
from clbench.results.repeats import short
from clbench.results.summary import Row
from clbench.util.text import as_html

MOST_RUNS = 50
MOST_WARNINGS = 20


def panel(anchor: str, arm: Arm, row: Row, records: Sequence[Record]) -> str:
    """One ``<details>`` with its anchor.

    Args:
        anchor: what links lead to.
        arm: the arm.
        row: its numbers.
        records: its completed runs.
    """
    column = tables.named("world_accuracy", "")
    score = tables.cell(column, row.values[column.key])
    warnings = [*dict.fromkeys(text for r in arm.records for text in r.warnings)][:MOST_WARNINGS]
    parts = [
        f'<div class="maps">{"".join(f"<figure>{m}</figure>" for m in _maps(records))}</div>',
        _list("Warnings of the runs", warnings) if warnings else "",
        f'<div class="cols">{_facts("Numbers", _numbers(row))}{_settings(arm)}{_runs(arm)}</div>',
    ]
    return (
        f'<details class="panel" id="{anchor}" data-arm="{anchor}">'
        f"<summary><b>{as_html(arm.name, 120)}</b>"
        f'<span class="quiet">{as_html(arm.scenario)} · {as_html(score)} % · '
        f"n = {len(row.seeds)}</span></summary><div>{''.join(parts)}</div></details>\n"
    )


def _maps(records: Sequence[Record]) -> Iterable[str]:
    if (tasks := measures.task_matrix(records)) is not None:
        values, names = tasks
        summary = f"Accuracy on {len(names)} tasks after each of them"
        yield drawing.heat_map(values, summary, "accuracy on task", "after task", names, names)
    if (found := measures.class_lines(records)) is not None:
        values, names, times = found
        summary = f"Accuracy of {len(names)} classes at {len(times)} evaluations"
        yield drawing.heat_map(values, summary, "experiences", "accuracy of class", times, names)
    if (confused := measures.confusion(records)) is not None:
        values, names = confused
        summary = f"Answers at the end by class, of {len(names)} classes"
        yield drawing.heat_map(values, summary, "answer at the end", "class", names, names)


def _numbers(row: Row) -> list[tuple[str, str]]:
    shown = [c for c in tables.columns() if row.values[c.key].n]
    return [(c.title, tables.cell(c, row.values[c.key])) for c in shown]


def _settings(arm: Arm) -> str:
    record = arm.records[0]
    out = []
    for group, value in record.config.items():
        if isinstance(value, dict):
            found = (record.resolved or {}).get(group, {})
            pairs = [
                (k, short(v) + (f" ({short(found[k])})" if k in found else ""))
                for k, v in value.items()
                if k != "name"
            ]
            out.append(_facts(f"{group} {value['name']}", pairs))
    rest = [(k, short(v)) for k, v in record.config.items() if not isinstance(v, dict)]
    return "".join(out) + _facts("Run", rest)


def _runs(arm: Arm) -> str:
    rows = []
    for record in arm.records[:MOST_RUNS]:
        accuracy = record.metric("world_accuracy")
        shown = "–" if accuracy is None else f"{100 * accuracy:.1f} %"
        rows.append((f"seed {record.seed}", f"{record.status}, {shown}"))
    more = len(arm.records) - MOST_RUNS
    rows += [("more", f"{more} seeds")] if more > 0 else []
    first = arm.records[0]
    hashes = [("run", (first.run_sha256 or "–")[:16]), ("data", first.pool_sha256[:16])]
    return _facts("Seeds", rows) + _facts("Hashes", hashes)


def _facts(title: str, pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return ""
    body = "".join(f"<dt>{as_html(k, 60)}</dt><dd>{as_html(v, 120)}</dd>" for k, v in pairs)
    return f"<section><h3>{as_html(title, 80)}</h3><dl>{body}</dl></section>"


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{as_html(line, 300)}</li>" for line in lines)
    return f'<h3>{as_html(title)}</h3><ul class="notes">{items}</ul>'
