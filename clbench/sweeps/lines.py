"""The file of a plan: one JSON object a line, each with the words of one run and its folder."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clbench.errors import UsageError
from clbench.util.atomic import write_atomically
from clbench.util.files import FileError, read_text

MAX_PLAN_BYTES = 1 << 27
MAX_LINE = 100_000
"""Characters of one line; a longer one is no plan."""


@dataclass(frozen=True, slots=True)
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


def text_of(lines: Iterable[Line]) -> str:
    """The text of a plan's file."""
    return "".join(json.dumps(line.as_dict()) + "\n" for line in lines)


def write(path: Path, lines: Iterable[Line]) -> None:
    """Write a plan atomically, one JSON object a line.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text_of(lines).encode())
    except OSError as error:
        raise UsageError(f"--plan {path}: cannot be written: {error.strerror}") from error


def read(path: Path) -> list[Line]:
    """Read a plan.

    Raises:
        UsageError: the file is missing, or a line is not one of a plan; it names the line.
    """
    return [*parsed(path, rows_of(path))]


def rows_of(path: Path) -> list[str]:
    """The rows of a plan's file, unread.

    Raises:
        UsageError: the file is missing or empty.
    """
    try:
        rows = read_text(path, MAX_PLAN_BYTES, links=True).splitlines()
    except FileError as error:
        raise UsageError(f"--plan {error}") from error
    if not rows:
        raise UsageError(f"--plan {path}: is empty; clbench run ... --plan {path} writes a plan")
    return rows


def parsed(path: Path, rows: list[str], only: Container[int] | None = None) -> Iterator[Line]:
    """The lines of rows, or of those with certain indices, counted from 0.

    Raises:
        UsageError: a row is not a line of a plan; it names the line.
    """
    for number, row in enumerate(rows):
        if only is None or number in only:
            yield _parse(row, f"{path}:{number + 1}")


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


def indices(text: str, n: int) -> list[int]:
    """The lines that ``--index`` asks for: ``3``, ``3..7`` or ``1,4..6``, counted from 0.

    Raises:
        UsageError: it is not such a text, or the plan has no such line.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dots, last = part.partition("..")
        ends = (first, last if dots else first)
        if not all(end.isascii() and end.isdigit() and len(end) < 10 for end in ends):
            raise UsageError(f"--index {text}: write 3, 3..7 or 1,4..6; lines count from 0")
        a, b = int(ends[0]), int(ends[1])
        if not a <= b < n:
            raise UsageError(f"--index {text}: the plan has the lines 0 to {n - 1}")
        found.update(range(a, b + 1))
    return sorted(found)
