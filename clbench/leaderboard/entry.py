"""Entries: who submits what to a board, and the records that stand for it.

An entry is a folder ``entries/<slug>/`` with ``entry.yaml`` (the only file written by hand),
``runs/seed<k>.json`` (records, written by the harness) and ``strategy.py`` (the source that ran).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clbench.leaderboard.files import FileError, read_json, read_yaml
from clbench.record import Record

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
TIERS = ("self-reported", "validated", "reproduced", "held-out")


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
    division: str = "closed"
    tuned_on: tuple[int, ...] = ()
    """Seeds that settings were chosen on: some of the board's tuning seeds, or none."""
    paper_reference: Mapping[str, Any] = field(default_factory=dict)
    """``{value, source, comparable}``: what the paper says, shown beside what came out."""
    declaration: Mapping[str, bool] = field(default_factory=dict)
    """``{no_test_data: true, no_evaluation_seed_tuning: true}``"""


DECLARATIONS = ("no_test_data", "no_evaluation_seed_tuning")


@dataclass(frozen=True)
class Verification:
    """``verified.json``, written by ``clbench verify``: what was run again, and with what result."""

    tier: str
    """``reproduced`` or ``held-out``"""
    sources: Mapping[str, str]
    """Of the records that were reproduced: an entry that changes loses its tier."""
    predictions_sha256: Mapping[str, str]
    """Seed to the predictions hash of the record that was compared."""
    detail: Mapping[str, Any]
    """How: seeds, prefix, bit-equal or the tolerance and difference, environment, commitment."""


@dataclass(frozen=True)
class Entry:
    """An entry as read; ``problems`` are files that could not be read at all."""

    slug: str
    folder: Path
    meta: Meta | None
    records: Mapping[int, Record]
    verification: Verification | None
    problems: tuple[str, ...]

    @property
    def source(self) -> Path:
        """The strategy's source that was submitted."""
        return self.folder / "strategy.py"


def load_entry(folder: Path) -> Entry:
    """Read an entry; whatever is wrong with a file is a problem of the entry, never an exception."""
    problems: list[str] = []
    meta = _attempt(lambda: parse_meta(folder / "entry.yaml"), problems)
    records: dict[int, Record] = {}
    for path in sorted((folder / "runs").glob("seed*.json")) if (folder / "runs").is_dir() else []:
        number = re.fullmatch(r"seed(0|[1-9]\d{0,8})\.json", path.name)
        if number is None:
            problems.append(f"{path}: must be named seed<k>.json")
            continue
        record = _attempt(lambda path=path: Record.parse(read_json(path), path), problems)
        if record is not None:
            records[int(number[1])] = record
    verification = None
    if (folder / "verified.json").exists() or (folder / "verified.json").is_symlink():
        verification = _attempt(lambda: _parse_verification(folder / "verified.json"), problems)
    return Entry(folder.name, folder, meta, records, verification, tuple(problems))


def _attempt(read: Any, problems: list[str]) -> Any:
    from clbench.errors import ClbenchError

    try:
        return read()
    except (FileError, ClbenchError) as error:
        problems.append(" ".join(str(error).split()))
        return None


def parse_meta(path: Path) -> Meta:
    """Read an ``entry.yaml``.

    Raises:
        FileError: it is not there, has unknown keys (with the nearest known one) or wrong types.
    """
    from clbench.registry import did_you_mean

    data = read_yaml(path)
    known = {f.name: f for f in dataclasses.fields(Meta)}
    for key in data:
        if key not in known:
            raise FileError(f"{path}: unknown key {key[:40]!r}{did_you_mean(key, known)}")
    for key in ("name", "strategy"):
        if not isinstance(data.get(key), str):
            raise FileError(f"{path}: {key} must be a text")
    values: dict[str, Any] = {}
    for key, value in data.items():
        default = getattr(Meta("", ""), key)
        if isinstance(default, tuple):
            item = int if key == "tuned_on" else str
            if not isinstance(value, list) or not all(type(v) is item for v in value):
                raise FileError(f"{path}: {key} must be a list of {item.__name__}")
            values[key] = tuple(value)
        elif isinstance(value, type(default)):
            values[key] = value
        else:
            raise FileError(f"{path}: {key} must be a {type(default).__name__}")
    return Meta(**values)


def _parse_verification(path: Path) -> Verification:
    data = read_json(path)
    names = {f.name for f in dataclasses.fields(Verification)}
    if not isinstance(data, dict) or set(data) != names:
        raise FileError(f"{path}: is not what clbench verify writes; run it again")
    if data["tier"] not in TIERS or not all(
        isinstance(data[key], dict) for key in ("sources", "predictions_sha256", "detail")
    ):
        raise FileError(f"{path}: is not what clbench verify writes; run it again")
    return Verification(**data)
