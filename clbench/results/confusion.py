"""What was answered at the last evaluation: test samples by their class and by the class answered.

The whole world is in it, each class over all its domains. Where task ids are told, a sample is counted
once for each task that it is asked under, and only classes of that task can be answered, as in every
evaluation. Streams of more than ``MOST_CLASSES`` classes have no such table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from clbench.results.record import Record

MOST_CLASSES = 200
"""With more classes, answers are not counted by class."""


def counted(truth: np.ndarray, answers: np.ndarray, n_classes: int) -> list[list[int]] | None:
    """Count answers by class, ``(n_classes, n_classes)``: a row for each true class.

    None where a sample has the score of a class that the stream does not have.

    Args:
        truth: ``(n,)`` int classes.
        answers: ``(n,)`` int classes answered.
        n_classes: of the stream.
    """
    if len(answers) and answers.max() >= n_classes:
        return None
    place = truth.astype(np.int64) * n_classes + answers
    found = np.bincount(place, minlength=n_classes**2).reshape(n_classes, n_classes)
    rows: list[list[int]] = found.tolist()
    return rows


def faults(
    answers: Mapping[str, Any] | None, counts: Mapping[str, Any], n_classes: int
) -> Iterator[str]:
    """Yield what is wrong with a record's ``answers``, given its ``counts`` of the right form."""
    if answers is None:
        return
    rows, cells = answers["counts"], counts["cells"]
    if not _is_whole(counts, n_classes):
        return  # which is told elsewhere
    if len(rows) != n_classes or any(len(row) != n_classes for row in rows):
        yield "answers.counts must have a row and a column for each of stream.n_classes"
        return
    if (
        not counts["correct"]
        or not counts["evaluated_after"]
        or answers["after"] != counts["evaluated_after"][-1]
    ):
        yield "answers.after must be the last of counts.evaluated_after"
        return
    size, right, may = [0] * n_classes, [0] * n_classes, _answerable(cells)
    for cell, correct in zip(cells, counts["correct"][-1], strict=True):
        size[cell["label"]] += cell["size"]
        right[cell["label"]] += correct
    for label, row in enumerate(rows):
        if min(row) < 0 or sum(row) != size[label]:
            yield f"answers.counts of class {label} must be the {size[label]} samples of its cells"
        elif row[label] != right[label]:
            yield f"answers.counts of class {label} has {row[label]} right, counts {right[label]}"
        elif may is not None and any(n for a, n in enumerate(row) if n and a not in may[label]):
            yield f"answers.counts of class {label} has classes that none of its tasks has"


def _is_whole(counts: Mapping[str, Any], n_classes: int) -> bool:
    """Whether counts have cells of known classes, and a last evaluation of all of them."""
    known = all(cell["label"] < n_classes for cell in counts["cells"])
    rows = counts["correct"]
    return known and (not rows or len(rows[-1]) == len(counts["cells"]))


def _answerable(cells: list[Mapping[str, Any]]) -> dict[int, set[int]] | None:
    """The classes that may be answered for each class; None where no task is told."""
    if any(cell["task_id"] is None for cell in cells):
        return None
    of_task: dict[int, set[int]] = {}
    for cell in cells:
        of_task.setdefault(cell["task_id"], set()).add(cell["label"])
    may: dict[int, set[int]] = {}
    for cell in cells:
        may.setdefault(cell["label"], set()).update(of_task[cell["task_id"]])
    return may


def frame(record: Record) -> pd.DataFrame:
    """A row for each true class, a column for each answer, under the classes' names."""
    import pandas as pd

    if record.answers is None:
        return pd.DataFrame()
    names = record.class_names or range(record.stream["n_classes"])
    return pd.DataFrame(
        np.array(record.answers["counts"], dtype=np.int64),
        index=pd.Index(names, name="class"),
        columns=pd.Index(names, name="answer"),
    )


def by_task(record: Record) -> pd.DataFrame:
    """Accuracy on each task (a column) right after each task (a row); NaN where not evaluated."""
    import pandas as pd

    counts = record.to_counts()
    n_tasks, rows = len(counts.task_end), counts.right_after
    values = np.full((n_tasks, n_tasks), np.nan)
    if n_tasks and len(counts.views):
        values[rows >= 0] = counts.accuracy_matrix()[rows[rows >= 0]]
    tasks = range(n_tasks)
    return pd.DataFrame(
        values, index=pd.Index(tasks, name="after"), columns=pd.Index(tasks, name="task")
    )
