"""A sweep as data: a file of lines, each with the words of one run and its folder.

``clbench run ... --plan plan.jsonl`` writes it, ``clbench run --plan plan.jsonl`` runs all of it and
``--index K`` one line, here or wherever the same data and plug-ins are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clbench.configure.sweep import sweep
from clbench.configure.trackers import Asked, asked
from clbench.configure.words import as_typed
from clbench.engine.build import Run
from clbench.errors import UsageError
from clbench.util.atomic import write_atomically
from clbench.util.files import FileError, read_text

MAX_PLAN_BYTES = 1 << 26
MAX_LINE = 100_000
"""Characters of one line; a longer one is no plan."""


@dataclass(frozen=True)
class Line:
    """One run of a plan."""

    words: tuple[str, ...]
    """``key=value`` words that ask for this run alone, as ``clbench run`` takes them."""
    folder: str
    """Its folder below ``--out``; it changes when the run becomes another one."""
    where: str = ""
    """The file and line that it was read from, for errors."""

    def as_dict(self) -> dict[str, Any]:
        """As the file has it."""
        return {"words": list(self.words), "folder": self.folder}


def line_of(point: Mapping[str, Any], run: Run, tracker_words: Sequence[str] = ()) -> Line:
    """The line of a run that a point of a sweep asks for, with the words that choose its trackers."""
    words = (f"{k}={_text(v)}" for k, v in point.items() if k != "overrides")
    return Line((*words, *tracker_words), run.folder(Path()).as_posix())


def _text(value: Any) -> str:
    """A value as one types it; a list in brackets, so that its commas sweep nothing."""
    return as_typed(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def write(path: Path, lines: Iterable[Line]) -> None:
    """Write a plan atomically, one JSON object a line.

    Raises:
        UsageError: the file cannot be written.
    """
    text = "".join(json.dumps(line.as_dict()) + "\n" for line in lines)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise UsageError(f"--plan {path}: cannot be written: {error.strerror}") from error


def read(path: Path) -> list[Line]:
    """Read a plan.

    Raises:
        UsageError: the file is missing, or a line is not one of a plan; it names the line.
    """
    try:
        rows = read_text(path, MAX_PLAN_BYTES, links=True).splitlines()
    except FileError as error:
        raise UsageError(f"--plan {error}") from error
    if not rows:
        raise UsageError(f"--plan {path}: is empty; clbench run ... --plan {path} writes a plan")
    return [_parse(row, f"{path}:{number}") for number, row in enumerate(rows, 1)]


def _parse(row: str, where: str) -> Line:
    fix = 'each line is {"words": ["key=value", ...], "folder": "..."}'
    try:
        data = json.loads(row) if len(row) <= MAX_LINE else None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--plan {where}: is not JSON; {fix}") from error
    if not isinstance(data, dict) or set(data) != {"words", "folder"}:
        raise UsageError(f"--plan {where}: is not a line of a plan; {fix}")
    words, folder = data["words"], data["folder"]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"--plan {where}: words must be a list of texts; {fix}")
    if not isinstance(folder, str):
        raise UsageError(f"--plan {where}: folder must be a text; {fix}")
    return Line(tuple(words), folder, where)


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
