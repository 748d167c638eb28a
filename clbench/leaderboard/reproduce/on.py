"""Verifies entries on an engine: a command an entry, ``clbench verify --plan verify.jsonl --index K``.

The line of an entry has its folder, a hash of what it claims, and the options. A job writes the ledger
into the shared folder of boards, as ``clbench verify`` does here, and what it said beside the plan.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clbench.errors import UsageError
from clbench.sweeps import submit
from clbench.sweeps.engine import Engine, Needs, jobs_of
from clbench.sweeps.home import VERIFY, Home
from clbench.sweeps.lines import Line
from clbench.trackers.progress import say
from clbench.util.atomic import make_folder, write_atomically

CLAIM = "claim="


class Told(NamedTuple):
    """What a job said of an entry."""

    number: int
    """Of its line."""
    entry: str
    passed: bool
    lines: list[str]
    refusals: list[str]


def planned(
    board: Path, entries: Sequence[Path], options: Sequence[str], out: Path
) -> tuple[Home, list[Line]]:
    """Write the plan: a line an entry.

    Args:
        board: the board's folder.
        entries: the folders of the entries.
        options: of ``clbench verify``, the same for all.
        out: the shared folder that keeps plan, logs and what jobs say.
    """
    pinned = _bytes(board / "board.yaml")
    lines = [
        Line((f"{CLAIM}{_claim(entry, pinned)}", *options), str(entry.absolute()))
        for entry in entries
    ]
    home = Home.of(out, lines, VERIFY)
    make_folder(home.folder / "told")
    return home, lines


def options_of(line: Line) -> list[str]:
    """The options of a line, as one types them."""
    return [word for word in line.words if not word.startswith(CLAIM)]


def hand_out(home: Home, lines: Sequence[Line], engine: Engine, needs: Needs) -> list[int]:
    """Submit what has not passed and is not queued; returns all that has not passed.

    Raises:
        UsageError: the engine refuses; nothing was submitted.
    """
    waiting = [k for k in range(len(lines)) if not _passed(home, k)]
    queued = engine.queued(home) if waiting else set()
    wanted = [index for index in waiting if index not in queued]
    jobs = jobs_of(wanted, len(lines), needs.per_job)
    counts = f"{len(lines)} entries: {len(lines) - len(waiting)} verified before"
    if not jobs:
        say(f"{counts}; nothing to submit")
        return waiting
    engine.check(home, -(-len(lines) // needs.per_job), needs)
    for index in wanted:
        _file(home, index).unlink(missing_ok=True)
        home.note_failure(index, None)
    where = engine.submit(home, jobs, needs)
    say(f"{counts}, {len(wanted)} submitted in {len(jobs)} jobs: {where}")
    return waiting


def follow(home: Home, lines: Sequence[Line], engine: Engine, left: list[int]) -> Iterator[Told]:
    """Wait for jobs, and yield what each said of its entries.

    Raises:
        UsageError: the jobs have gone, and an entry was not told of.
    """
    left = [*left]
    gone_since: float | None = None
    while left:
        no_jobs = engine.left(home) == 0  # asked before the folder is looked at
        for index in [*left]:
            found = read(home, lines, index)
            if found is not None:
                left.remove(index)
                yield found
        failed = home.failures()
        for index in [k for k in left if k in failed]:
            left.remove(index)
            yield Told(index, Path(lines[index].folder).name, False, [], [failed[index]])
        if left and no_jobs:
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since > submit.LATE_SECONDS:
                names = ", ".join(Path(lines[index].folder).name for index in left[:5])
                raise UsageError(
                    f"the jobs have gone, and nothing is known of {names}; logs are in {home.logs}; "
                    "the same words go on"
                )
        if left:
            time.sleep(submit.POLL_SECONDS)


def read(home: Home, lines: Sequence[Line], index: int) -> Told | None:
    """What a job said of an entry; None where it has said nothing yet."""
    try:
        data: dict[str, Any] = json.loads(_file(home, index).read_text(encoding="utf-8"))
        return Told(index, Path(lines[index].folder).name, **data)
    except (OSError, ValueError, TypeError):
        return None


def write(home: Home, index: int, passed: bool, lines: list[str], refusals: list[str]) -> None:
    """Keep what is to be said of an entry beside the plan."""
    data = {"passed": passed, "lines": lines, "refusals": refusals}
    write_atomically(_file(home, index), json.dumps(data).encode())


def run_job(
    home: Home, chosen: Sequence[int], lines: Sequence[Line], verify: Callable[[Line], Any]
) -> None:
    """Verify the entries of a job, one after another, and keep what is said of each."""
    for index in chosen:
        report = verify(lines[index])
        write(home, index, report.passed, report.lines, report.refusals)


def _passed(home: Home, index: int) -> bool:
    try:
        return json.loads(_file(home, index).read_text(encoding="utf-8"))["passed"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _file(home: Home, index: int) -> Path:
    return home.folder / "told" / f"{index}.json"


def _claim(entry: Path, pinned: bytes) -> str:
    """A hash of what an entry is, so that the words of a changed one name another plan."""
    found = hashlib.sha256(pinned)
    for path in sorted([entry / "entry.yaml", *entry.glob("*.json"), *entry.glob("runs/*.json")]):
        found.update(path.name.encode() + hashlib.sha256(_bytes(path)).digest())
    return found.hexdigest()[:16]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
