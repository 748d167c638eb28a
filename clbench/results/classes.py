"""Accuracy of each class at the end of a run, under the classes' names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.results.arms import by_arm, labels
from clbench.util.text import as_markdown

if TYPE_CHECKING:
    from clbench.results.record import Record

LONGEST = 100
"""Characters of a class name that a record keeps."""


def kept_names(names: Sequence[str], chosen: Sequence[int]) -> list[str] | None:
    """The names of a stream's classes, for its record; None where the data have no names.

    Args:
        names: of the pool's labels, or none.
        chosen: the pool's label of each class of the stream.
    """
    if not names:
        return None
    shown = ("".join(c if c.isprintable() else " " for c in names[label]) for label in chosen)
    return [name.strip()[:LONGEST] for name in shown]


def title(record: Record, label: int) -> str:
    """A class as tables and plots show it: its name, or ``class 3``."""
    names = record.class_names
    return (names[label] if names else "") or f"class {label}"


def final(record: Record) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Labels, their test samples and their accuracy at the last evaluation, all ``(n_classes,)``."""
    counts = record.to_counts()
    known, which = np.unique(counts.label, return_inverse=True)
    sizes = np.bincount(which, weights=counts.size)
    right = np.bincount(which, weights=counts.correct[-1])
    return known.tolist(), sizes.astype(np.int64), right / sizes


def to_markdown(records: Iterable[Record]) -> str:
    """Final accuracy of each class, in percent, a mean over completed seeds: a table per arm.

    Where seeds have different classes, as in SCoLe, a class is averaged over the seeds that have it.
    """
    out = []
    arms = by_arm(r for r in records if r.status == "completed" and r.counts["correct"])
    for name, arm in zip(labels(arms), arms, strict=True):
        found: dict[str, list[tuple[int, float]]] = {}
        for record in arm.records:
            for label, size, accuracy in zip(*final(record), strict=True):
                found.setdefault(title(record, label), []).append((int(size), float(accuracy)))
        lines = [["class", "samples", "accuracy %"], ["---", "---:", "---:"]]
        for shown, values in found.items():
            accuracy = 100 * sum(v for _, v in values) / len(values)
            lines.append([as_markdown(shown), str(values[0][0]), f"{accuracy:.1f}"])
        table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        out.append(f"{as_markdown(name)} (n={len(arm.records)})\n\n{table}")
    return "\n".join(out)
