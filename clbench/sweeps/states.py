"""What has become of the runs of a sweep, read from their folders alone; it imports no torch.

A run is *done* (its record says so, also where it diverged or its budget was spent), *running* (a
process holds its folder), *interrupted* (begun, and nobody goes on), *failed* or *waiting*.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

STATES = ("done", "running", "interrupted", "failed", "waiting")
FINISHED = {"completed", "diverged", "budget_exceeded"}
HEAD = re.compile(rb'\{"schema":\d+,"status":"(\w+)","error":')
HEAD_BYTES = 8192
OWNER = ".owner"
SILENT_SECONDS = 120.0
"""A heartbeat older than this is that of a process that is gone."""
MAX_TIMED = 300
"""Finished runs of which the seconds are read, at most three of an arm."""


class State(NamedTuple):
    """Of one run, at one moment."""

    name: str
    """One of ``STATES``."""
    why: str = ""
    """Of a failed run: the first line of why; of a finished one: how, where it is not completed."""
    host: str = ""
    """Of a running one."""


class Asked(NamedTuple):
    """A run to look at."""

    folder: str
    """Below ``--out``."""
    max_tasks: int | None = None
    """How long the words ask for: a run that has ended sooner is to be extended."""


@dataclass
class Look:
    """One look at the runs below a folder. A second look by the same object sees hearts beat."""

    out: Path
    beats: dict[str, int] = field(default_factory=dict)
    """Time stamps of heartbeats, as they were seen last."""
    listed: dict[str, frozenset[str]] = field(default_factory=dict)
    now: float = 0.0

    def begin(self) -> None:
        """Forget what the folders held, and read the clock of the file system."""
        self.listed.clear()
        self.now = _clock(self.out)

    def at(self, run: Asked) -> State:
        """The state of one run."""
        above, _, name = run.folder.rpartition("/")
        if name not in self._names(above):
            return State("waiting")
        folder = f"{self.out}/{run.folder}"
        record = _head(f"{folder}/record.json")
        status = HEAD.match(record)
        word = status[1].decode() if status is not None else ""
        if word in FINISHED and not (run.max_tasks is not None and _is_short(folder, run)):
            return State("done", "" if word == "completed" else word)
        host = self._owner(f"{folder}/{OWNER}")
        if host is not None and host[1]:
            return State("running", host=host[0])
        if word == "error" and status is not None:
            return State("failed", _why(record, status.end()))
        begun = record or host is not None or os.path.lexists(f"{folder}/checkpoint")
        return State("interrupted") if begun else State("waiting")

    def _names(self, folder: str) -> frozenset[str]:
        if folder not in self.listed:
            found: frozenset[str] = frozenset()
            with suppress(OSError):
                found = frozenset(os.listdir(f"{self.out}/{folder}"))
            self.listed[folder] = found
        return self.listed[folder]

    def _owner(self, path: str) -> tuple[str, bool] | None:
        """The host of the process that holds a folder, and whether its heart beats."""
        try:
            with open(path, "rb") as file:
                content, at = file.read(4096), os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return None
        beats = self.beats.get(path, at) != at or self.now - at / 1e9 <= SILENT_SECONDS
        self.beats[path] = at
        try:
            data = json.loads(content)
            return str(data.get("host", "?")) if isinstance(data, dict) else "?", beats
        except ValueError:
            return "?", beats


@dataclass
class Tally:
    """The runs of a sweep by state."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    hosts: dict[str, int] = field(default_factory=dict)
    """Running ones by host."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """``(folder, why)``"""
    odd: dict[str, int] = field(default_factory=dict)
    """Done ones that did not complete, by status."""
    seconds_left: float | None = None
    """For all that is left, by what finished runs of the same arm took; None: nothing to go by."""

    @property
    def n(self) -> int:
        """Runs."""
        return sum(self.counts.values())

    @property
    def unfinished(self) -> int:
        """Runs that are neither done nor failed."""
        return self.n - self.counts["done"] - self.counts["failed"]


def tally(look: Look, runs: Iterable[Asked], failed: Mapping[int, str] | None = None) -> Tally:
    """Look at every run of a sweep.

    Args:
        look: at the folder of the runs.
        runs: in the order of the plan.
        failed: by index, why a job could not start or finish a run.
    """
    found, failed = Tally(), failed or {}
    left: dict[str, int] = {}
    timed: dict[str, list[float]] = {}
    n_timed = 0
    look.begin()
    for index, run in enumerate(runs):
        state = look.at(run)
        if index in failed and state.name in ("waiting", "interrupted"):
            state = State("failed", failed[index])
        found.counts[state.name] += 1
        arm = run.folder.rpartition("/")[0]
        if state.name == "running":
            found.hosts[state.host] = found.hosts.get(state.host, 0) + 1
        elif state.name == "failed":
            found.failures.append((run.folder, state.why))
        elif state.name == "done":
            if state.why:
                found.odd[state.why] = found.odd.get(state.why, 0) + 1
            if n_timed < MAX_TIMED and len(timed.get(arm, ())) < 3:
                n_timed += 1
                timed.setdefault(arm, []).extend(_seconds(f"{look.out}/{run.folder}"))
            continue
        if state.name != "failed":
            left[arm] = left.get(arm, 0) + 1
    every = [seconds for some in timed.values() for seconds in some]
    if every:
        mean = sum(every) / len(every)
        work = sum(
            n * (sum(timed[arm]) / len(timed[arm]) if timed.get(arm) else mean)
            for arm, n in left.items()
        )
        found.seconds_left = work / max(1, found.counts["running"])
    return found


def runs_below(out: Path) -> Iterator[Asked]:
    """Every run folder below a folder, which may be one of a scenario or of an arm."""
    yield from _below(out, "", 3)


def _below(out: Path, inside: str, depth: int) -> Iterator[Asked]:
    try:
        with os.scandir(f"{out}/{inside}") as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        if re.fullmatch(r"seed\d+", name):
            yield Asked(f"{inside}{name}")
        elif depth > 1 and not name.startswith("."):
            yield from _below(out, f"{inside}{name}/", depth - 1)


def _clock(out: Path) -> float:
    """Now, by the clock that stamps the files of a folder; by one's own where it is read only."""
    probe = out / f".clock-{uuid.uuid4().hex}.part"
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        return now
    except OSError:
        return time.time()


def _head(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _why(record: bytes, at: int) -> str:
    text = record[at:].decode(errors="ignore")
    try:
        error, _ = json.JSONDecoder().raw_decode(text)
        return f"{error['type']}: {error['message']}".splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        return "an error with a long message; the record has it"


def _load(folder: str) -> dict[str, object]:
    try:
        with open(f"{folder}/record.json", "rb") as file:
            data = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _seconds(folder: str) -> list[float]:
    """What a finished run took, in a list of one; an empty one where the record does not say."""
    cost = _load(folder).get("cost")
    if not isinstance(cost, dict):
        return []
    parts = [cost.get(f"{name}_seconds") for name in ("train", "predict", "harness")]
    return [float(sum(part for part in parts if isinstance(part, int | float)))]


def _is_short(folder: str, run: Asked) -> bool:
    """Whether a completed run is shorter than the words ask for."""
    data = _load(folder)
    tasks, stream = data.get("tasks"), data.get("stream")
    if data.get("status") != "completed" or not isinstance(tasks, dict):
        return False
    own = stream.get("n_tasks") if isinstance(stream, dict) else None
    wanted = min(n for n in (run.max_tasks, own) if isinstance(n, int))
    return len(tasks.get("end", ())) < wanted
