"""Online accuracy of each task, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.results.arms import by_arm
from clbench.results.online import by_task
from clbench.results.tables import t_interval
from clbench.util.text import as_exact_cell

if TYPE_CHECKING:
    from clbench.results.record import Record


def to_csv(records: Iterable[Record]) -> str:
    """Online accuracy of each task: a row for each, mean and 95 % half width over completed seeds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    measured = ("online_accuracy", "blind_accuracy")
    head = [part for name in measured for part in (name, f"{name}_half_width", f"{name}_n")]
    writer.writerow(["scenario", "strategy", "seeds", "task", *head])
    for arm in by_arm(r for r in records if r.status == "completed" and r.online is not None):
        told = [as_exact_cell(arm.scenario), as_exact_cell(arm.name)]
        told.append(" ".join(str(r.seed) for r in arm.records))
        lines = [_tasks(record) for record in arm.records]
        for task in range(max(map(len, lines))):
            row: list[Any] = [*told, task]
            for which in range(len(measured)):
                values = [line[task][which] for line in lines if task < len(line)]
                interval = t_interval([v for v in values if not np.isnan(v)])
                row += ["" if v is None else v for v in interval]
            writer.writerow(row)
    return out.getvalue()


def _tasks(record: Record) -> list[tuple[float, float]]:
    counts = record.to_counts()
    found = counts.online
    assert found is not None
    parts = (by_task(of, found.size, counts.task_end) for of in (found.correct, found.blind))
    return [(float(a), float(b)) for a, b in zip(*parts, strict=True)]
