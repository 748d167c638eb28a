"""The folder of a sweep, ``<out>/.sweeps/<id>/``: its plan, what was submitted, logs and failures.

The id is the start of the plan's hash, so the same words find the same folder again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clbench.errors import ClbenchError
from clbench.sweeps.lines import Line, parsed, rows_of, text_of
from clbench.sweeps.states import Asked
from clbench.util.atomic import make_folder, storage, write_atomically

SWEEPS = ".sweeps"
PLAN = "plan.jsonl"
VERIFY = "verify.jsonl"
"""The plan of entries that are verified."""


@dataclass(frozen=True)
class Home:
    """Where a sweep on an engine keeps what belongs to no run."""

    folder: Path
    """Absolute."""
    plan_name: str = PLAN

    @classmethod
    def of(cls, out: Path, lines: Sequence[Line], plan_name: str = PLAN) -> Home:
        """The folder of a plan, which is written.

        Raises:
            StorageError: it cannot be.
        """
        text = text_of(lines).encode()
        folder = out.absolute() / SWEEPS / hashlib.sha256(text).hexdigest()[:8]
        home = cls(folder, plan_name)
        for folder in (home.logs, home.folder / "failed"):
            make_folder(folder)
        if not home.plan.exists():  # it never changes, so no cache of a network can show an old one
            write_atomically(home.plan, text)
        return home

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.folder / self.plan_name

    @property
    def is_verification(self) -> bool:
        """Whether its jobs verify entries; if not, they run the lines of a sweep."""
        return self.plan_name == VERIFY

    @property
    def id(self) -> str:
        """Eight digits."""
        return self.folder.name

    @property
    def out(self) -> Path:
        """The folder of the runs."""
        return self.folder.parent.parent

    @property
    def logs(self) -> Path:
        """What the jobs print."""
        return self.folder / "logs"

    def submissions(self, engine: str) -> list[dict[str, Any]]:
        """What was submitted to an engine before."""
        found = []
        with suppress(OSError, ValueError):
            for row in (self.folder / "submitted.jsonl").read_text().splitlines():
                data = json.loads(row)
                if data["engine"] == engine:
                    found.append(data)
        return found

    def note_submission(self, engine: str, **what: Any) -> None:
        """Add to what was submitted.

        Raises:
            StorageError: the note cannot be written.
        """
        path = self.folder / "submitted.jsonl"
        with storage(path), path.open("a") as file:
            file.write(json.dumps({"engine": engine, **what}) + "\n")

    def note_failure(self, index: int, why: str | None) -> None:
        """Say why a run could not start or finish; None: it could after all."""
        path = self.folder / "failed" / str(index)
        if why is None:
            path.unlink(missing_ok=True)
            return
        with suppress(OSError, ClbenchError):
            write_atomically(path, why.encode())

    def failures(self) -> dict[int, str]:
        """Why runs could not start or finish, by index."""
        found = {}
        with suppress(OSError):
            for path in (self.folder / "failed").iterdir():
                if path.name.isdigit():
                    found[int(path.name)] = path.read_text(errors="replace")
        return found


def homes(out: Path) -> list[Home]:
    """The sweeps of a folder of runs."""
    return [Home(path.parent) for path in sorted((out / SWEEPS).glob(f"*/{PLAN}"))]


def asked_of(path: Path) -> Iterator[Asked]:
    """The runs of a plan's file; of its words only ``max_tasks`` is read.

    Raises:
        UsageError: it is missing or no plan.
    """
    for line in parsed(path, rows_of(path)):
        yield asked_by(line)


def asked_by(line: Line) -> Asked:
    """The run of a line."""
    for word in line.words:
        if re.fullmatch(r"max_tasks=\d{1,9}", word):
            return Asked(line.folder, int(word.partition("=")[2]))
    return Asked(line.folder)
