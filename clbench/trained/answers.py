"""Samples of one's own from a file, and what was answered to them as a table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clbench.errors import UsageError
from clbench.trained.loaded import Loaded
from clbench.util.tensor_files import UNREADABLE
from clbench.util.text import as_exact_cell

NAMES = {"x": ("x", "test_x"), "y": ("y", "test_y"), "task_id": ("task_id",)}


@dataclass(frozen=True)
class Given:
    """What a file holds."""

    x: np.ndarray
    y: np.ndarray | None
    task_id: np.ndarray | None


def read(path: Path) -> Given:
    """Read an ``.npz`` file; nothing is unpickled.

    Raises:
        UsageError: it is not there, holds no samples, or its arrays do not fit together.
    """
    if not path.is_file():
        raise UsageError(f"--data {path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise ValueError("it is one array")
            found = {
                name: next((file[key] for key in keys if key in file.files), None)
                for name, keys in NAMES.items()
            }
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        if (
            "pickle" in reason
        ):  # numpy's guess of any other file, with advice that nobody should take
            reason = "numpy.savez makes one: numpy.savez('mine.npz', x=x)"
        raise UsageError(f"--data {path}: is no .npz file of plain arrays: {reason}") from error
    x = found["x"]
    if x is None or x.ndim == 0 or x.dtype.kind not in "uif":
        raise UsageError(f"--data {path}: holds no numbers under the name x (or test_x)")
    for name in ("y", "task_id"):
        values = found[name]
        if values is not None and (values.shape != x.shape[:1] or values.dtype.kind not in "ui"):
            raise UsageError(f"--data {path}: {name} must hold {len(x)} whole numbers")
    return Given(x, found["y"], found["task_id"])


def to_csv(trained: Loaded, given: Given, *, with_scores: bool) -> tuple[str, int | None]:
    """The table, and how many answers are right where labels are given.

    Columns: ``sample`` from 0, ``answer`` (the data's label), ``name`` of the class if it has one,
    ``label`` and ``right`` where labels are given, and ``score_<label>``. Texts are escaped: a
    spreadsheet runs none.
    """
    scores = trained.scores(given.x, given.task_id).numpy()
    classes = trained.classes
    answers = scores.argmax(1) if len(scores) else np.zeros(0, dtype=np.int64)
    labels = np.array(classes.pool_labels, dtype=np.int64)[answers]
    right = None if given.y is None else labels == given.y
    names = [as_exact_cell(name) for name in classes.names]
    named = any(classes.names)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["sample", "answer", *(["name"] if named else [])]
    head += ["label", "right"] if given.y is not None else []
    writer.writerow(head + [f"score_{k}" for k in classes.pool_labels if with_scores])
    for at, answer in enumerate(answers):
        row: list[object] = [at, int(labels[at]), *([names[answer]] if named else [])]
        if given.y is not None and right is not None:
            row += [int(given.y[at]), int(right[at])]
        writer.writerow(row + ([f"{v:.6g}" for v in scores[at]] if with_scores else []))
    return out.getvalue(), None if right is None else int(right.sum())
