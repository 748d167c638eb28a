"""A sweep as data: a file of lines, each with the words of one run and its folder.

``clbench run ... --plan plan.jsonl`` writes it, ``clbench run --plan plan.jsonl`` runs all of it and
``--index K`` one line (``K..L`` several), here or wherever the same data and plug-ins are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clbench.configure.sweep import sweep
from clbench.configure.trackers import Asked, asked
from clbench.configure.words import as_typed
from clbench.engine.build import Run
from clbench.errors import UsageError
from clbench.sweeps.lines import Line as Line
from clbench.sweeps.lines import read as read
from clbench.sweeps.lines import write as write


def line_of(point: Mapping[str, Any], run: Run, tracker_words: Sequence[str] = ()) -> Line:
    """The line of a run that a point of a sweep asks for, with the words that choose its trackers."""
    # Lines of one sweep share most of their words.
    words = (sys.intern(f"{k}={_text(v)}") for k, v in point.items() if k != "overrides")
    return Line((*words, *tracker_words), run.folder(Path()).as_posix())


def _text(value: Any) -> str:
    """A value as one types it; a list in brackets, so that its commas sweep nothing."""
    return as_typed(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def points(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The points of a plan's lines, as ``sweep`` gives them.

    Raises:
        UsageError: the words of a line are wrong, or ask for several runs.
    """
    return read_points(lines)[0]


def read_points(lines: Sequence[Line]) -> tuple[list[dict[str, Any]], Asked]:
    """The points of a plan's lines, and the trackers that all of them ask for.

    Raises:
        UsageError: the words of a line are wrong, ask for several runs, or for other trackers than
            the first line's.
    """
    found: list[dict[str, Any]] = []
    first: Asked | None = None
    for line in lines:
        try:
            mine = asked(line.words)
            points = sweep(mine.words)
        except UsageError as error:
            raise UsageError(f"--plan {line.where}: {error}") from error
        if len(points) != 1:
            raise UsageError(f"--plan {line.where}: asks for {len(points)} runs; one a line")
        first = mine if first is None else first
        if mine.tracker_words != first.tracker_words:
            raise UsageError(
                f"--plan {line.where}: has other tracker= words than the first line; run them apart "
                "(--index K), or give tracker= beside --plan"
            )
        found += points
    return found, asked(()) if first is None else first


def moved(line: Line, run: Run) -> str | None:
    """What to tell the user where a run is no longer the one that was planned; None where it is."""
    folder = run.folder(Path()).as_posix()
    if folder == line.folder:
        return None
    return (
        f"{folder}: was planned as {line.folder}; its plug-ins, its data or the results version have "
        "changed since, so it is another run"
    )
