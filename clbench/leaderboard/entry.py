"""Entries: a strategy submitted to a board, with its records.

An entry is a folder ``entries/<slug>/`` with ``entry.yaml`` (the only file written by hand),
``runs/seed<k>.json`` (records, written by the harness). Nothing that is in it is evidence: what the
verifier found lies beside ``entries``, in ``verified/<slug>.json``. The source that ran is
``<boards>/sources/<sha256>.py``, named in ``entry.yaml``, or ``strategy.py`` in the entry's folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from clbench.configure.board import Board
from clbench.errors import ClbenchError, UsageError
from clbench.plugins.registry import PACKAGE, did_you_mean
from clbench.results.record import Record
from clbench.util.files import FileError, read_json, read_yaml
from clbench.util.hashing import sha256_of

T = TypeVar("T")
PIN = "board"
"""No entry is called so: ``verified/board.json`` is not of an entry."""
SLUG = re.compile(rf"(?!{PIN}$)[a-z0-9][a-z0-9_-]{{0,59}}")
RUN_FILE = re.compile(r"seed(0|[1-9]\d{0,8})\.json")
MAX_ENTRIES = 1000
"""Largest number of entries of a board; further ones are not read, those without a ledger first."""
MAX_RUNS = 100
"""Largest number of records of an entry; further ones are not read."""
MAX_LEDGER_BYTES = 16 << 20
"""Largest size of a ledger, which may hold a record for each seed."""
MAX_FAULTS = 5
"""Largest number of faults reported for a file."""
TIERS = ("self-reported", "validated", "re-run", "reproduced")
"""From what is only claimed to what the verifier's runs have shown, seed by seed."""


@dataclass(frozen=True)
class Meta:
    """``entry.yaml``. Every text is shown escaped; addresses are http(s) only."""

    name: str
    """As shown, at most 60 characters."""
    strategy: str
    """The strategy's name."""
    authors: tuple[str, ...] = ()
    affiliation: str = ""
    url: str = ""
    """Paper or project page."""
    code: str = ""
    """Upstream code."""
    description: str = ""
    """One sentence."""
    division: str = "network"
    tuned_on: tuple[int, ...] = ()
    """Seeds that settings were chosen on: some of the board's tuning seeds, or none."""
    paper_reference: Mapping[str, Any] = field(default_factory=dict)
    """``{value, source, comparable}``: the paper's result, shown beside the measured one."""
    declaration: Mapping[str, bool] = field(default_factory=dict)
    """``{no_test_data: true, no_evaluation_seed_tuning: true}``"""
    sources: Mapping[str, str] = field(default_factory=dict)
    """``{strategy: sha256, model: sha256}``: files of ``<boards>/sources``, by their content."""


DECLARATIONS = ("no_test_data", "no_evaluation_seed_tuning")


@dataclass(frozen=True)
class SeedRun:
    """What the verifier's run of one seed gave."""

    equal: bool
    """Whether every answer was the claimed one; else it was another platform's."""
    claim_sha256: str
    """Hash of the whole record that was compared."""
    claimed: float | None
    """The primary that follows from the claimed counts."""
    primary: float | None
    """The primary that follows from the verifier's counts."""
    cost: Mapping[str, Any]
    """The verifier's; ``train_flops`` and ``predict_flops`` count every call."""
    environment: Mapping[str, Any]
    """The verifier's platform."""
    cpu_seconds: float | None
    """CPU time of training, as the kernel counts it; every operation is counted meanwhile."""
    predictions_sha256: str
    verified: str
    """When, in UTC."""
    record: Mapping[str, Any] | None = None
    """The verifier's whole record, where its counts are not the claimed ones."""


@dataclass(frozen=True)
class Verification:
    """``verified/<entry>.json``, written by ``clbench verify`` alone; nothing of it is claimed."""

    board_sha256: str
    """The protocol."""
    sources: Mapping[str, str]
    """Hash of each source's bytes, by group."""
    rebuilt: bool
    """Whether predictors and learners were built from the state; if not, it is not ranked."""
    guards: Mapping[str, bool | str]
    """Each measure of isolation: True, or what was missing and why."""
    seeds: Mapping[str, SeedRun]
    held_out: Mapping[str, Any] | None
    """``{passed, seed, claimed, found, primary, commitment, secret}`` of the run on fresh data."""
    flops: Mapping[str, Any]
    """``{ranked, ratio, limit, why}``: CPU seconds per operation over those of the lower anchor."""
    stability: Mapping[str, Any] | None = None
    """``{seeds, rate_rms, threads_rms, sd, unstable}`` of perturbed runs."""
    tuning: Mapping[str, Any] | None = None
    """``{table_sha256, trials, equal}`` of trials that were run again."""


class Problem(NamedTuple):
    """A file that could not be read as expected."""

    file: Path
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Entry:
    """An entry as read. Malformed files are left out, so the content is well-formed."""

    slug: str
    folder: Path
    meta: Meta | None
    records: Mapping[int, Record]
    """Records by the seed in the file name."""
    verification: Verification | None
    problems: tuple[Problem, ...]
    contested: tuple[str, ...] = ()
    """What is said against it."""

    @cached_property
    def record_hashes(self) -> Mapping[int, str]:
        """The hash of everything that a record says, by seed."""
        return {seed: record_sha256(record) for seed, record in self.records.items()}

    @property
    def source(self) -> Path:
        """The strategy's source that was submitted."""
        return self.source_of("strategy")

    def source_of(self, group: str) -> Path:
        """The submitted source of a group: the shared file that is named, or one in the folder."""
        sha = self.meta.sources.get(group) if self.meta else None
        return source_file(boards_of(self.folder), sha) if sha else self.folder / f"{group}.py"


def record_sha256(record: Record) -> str:
    """Hash of everything that a record says."""
    return sha256_of(record.to_dict())


def refuse_without_entries(board: Board) -> None:
    """Refuse a board of an installed clbench, which brings no records.

    Raises:
        UsageError: saying where they are.
    """
    inside = (PACKAGE / "leaderboards").resolve()
    if board.folder.resolve().parent == inside and not board.entries.is_dir():
        raise UsageError(
            f"board {board.name!r}: its entries do not come with an installed clbench; give --boards "
            "DIR, the folder leaderboards of a clone of the repository"
        )


def boards_of(entry: Path) -> Path:
    """The folder of boards that holds an entry's folder."""
    return Path(os.path.abspath(entry)).parents[2]


def source_file(root: Path, sha: str) -> Path:
    """Where a folder of boards keeps the source with a hash."""
    return root / "sources" / f"{sha}.py"


def ledger_file(entry: Path) -> Path:
    """Where the verifier keeps what it found of an entry: beside ``entries``, never inside."""
    short = len(entry.parts) < 3 or ".." in entry.parts
    folder = Path(os.path.abspath(entry)) if short else entry
    return folder.parent.parent / "verified" / f"{folder.name}.json"


def load_entry(folder: Path) -> Entry:
    """Read an entry; a malformed file becomes a problem of the entry, never an exception."""
    problems: list[Problem] = []

    def attempt(path: Path, read: Callable[[Path], T]) -> T | None:
        try:
            return read(path)
        except (FileError, ClbenchError) as error:
            message = " ".join(str(error).split()).removeprefix(f"{path}: ")
            problems.append(Problem(path, message))
        except Exception as error:  # whatever a reader did not think of is told of the file
            problems.append(Problem(path, unjudged(error)))
        return None

    slug = folder.absolute().name
    if folder.is_symlink() or not folder.is_dir():
        problem = Problem(folder, "an entry must be a folder, not a link or file")
        return Entry(slug, folder, None, {}, None, (problem,))
    meta = attempt(folder / "entry.yaml", parse_meta)
    records: dict[int, Record] = {}
    for seed, path in run_files(folder).items():
        record = attempt(path, read_record)
        if record is not None:
            records[seed] = record
    verification, ledger = None, ledger_file(folder)
    if os.path.lexists(ledger):
        verification = attempt(ledger, _parse_verification)
    against = attempt(folder, _contested) or ()
    return Entry(slug, folder, meta, records, verification, tuple(problems), against)


def _contested(folder: Path) -> tuple[str, ...]:
    from clbench.leaderboard.contest import reasons

    return tuple(reason["why"] for reason in reasons(folder))


def unjudged(error: Exception) -> str:
    """One line on a file that could not be judged."""
    reason = " ".join(str(error).split())[:200]
    return (
        f"cannot be judged ({type(error).__name__}{': ' if reason else ''}{reason}): if it is as "
        "clbench wrote it, report this; else copy the run's record again"
    )


def iter_entries(board: Board) -> Iterator[Entry]:
    """Yield a board's entries by name, one at a time to save memory."""
    if board.entries.is_symlink() or not board.entries.is_dir():
        return
    found = sorted(board.entries.iterdir(), key=lambda folder: (not _has_ledger(folder), folder))
    for folder in sorted(found[:MAX_ENTRIES]):
        if folder.is_dir() and not folder.is_symlink():
            yield load_entry(folder)


def _has_ledger(folder: Path) -> bool:
    """Whether a verifier has written of an entry: new entries cannot push it out of what is read."""
    return os.path.lexists(ledger_file(folder))


def run_files(folder: Path) -> dict[int, Path]:
    """List an entry's record files by seed; files with other names are ignored."""
    runs = folder / "runs"
    if runs.is_symlink() or not runs.is_dir():
        return {}
    found = {RUN_FILE.fullmatch(path.name): path for path in runs.iterdir()}
    numbered = {int(match[1]): path for match, path in found.items() if match}
    return dict(sorted(numbered.items())[:MAX_RUNS])


def read_record(path: Path) -> Record:
    """Read an untrusted record.

    Raises:
        FileError: it is malformed; the message lists the first faults.
    """
    from clbench.results.record_schema import faults

    data = read_json(path)
    wrong = faults(data)
    if wrong:
        more = f" (and {len(wrong) - MAX_FAULTS} more)" if len(wrong) > MAX_FAULTS else ""
        raise FileError(
            f"{path}: {'; '.join(wrong[:MAX_FAULTS])}{more}; copy the run's record again"
        )
    return Record.parse(data, path)


def parse_meta(path: Path) -> Meta:
    """Read an ``entry.yaml``.

    Raises:
        FileError: it is missing, has unknown keys (with the nearest known one) or wrong types.
    """
    from clbench.leaderboard.models import EntryForm
    from clbench.util import schema

    data = read_yaml(path)
    known = EntryForm.model_fields
    for key in data:
        if key not in known:
            raise FileError(f"{path}: unknown key {key[:40]!r}{did_you_mean(key, known)}")
    wrong = schema.faults(EntryForm, data)
    if wrong:
        raise FileError(f"{path}: {'; '.join(wrong)}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return Meta(**values)


def _parse_verification(path: Path) -> Verification:
    from clbench.leaderboard.models import VerificationForm
    from clbench.util import schema

    data = read_json(path, MAX_LEDGER_BYTES)
    wrong = schema.faults(VerificationForm, data)
    if wrong:
        raise FileError(f"{path}: {'; '.join(wrong[:MAX_FAULTS])}; clbench verify writes it")
    seeds = {seed: SeedRun(**run) for seed, run in data.pop("seeds").items()}
    return Verification(**data, seeds=seeds)
