"""Contested entries: what somebody says against one, ``contested/<entry>.json`` beside ``verified``.

It takes nothing from an entry's rank: it is shown, escaped, beside what the verifier found.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from annotated_types import MaxLen

from clbench.errors import UsageError
from clbench.util import schema
from clbench.util.atomic import write_atomically
from clbench.util.files import FileError, read_json
from clbench.util.schema import Form, Text, Time

MAX_WHY = 1000
MAX_REASONS = 20


class ReasonForm(Form):
    """What somebody says against an entry."""

    why: Annotated[str, Text(MAX_WHY, least=1)]
    when: Time
    """In UTC."""


class ContestedForm(Form):
    """Why an entry is contested; clbench contest writes it."""

    reasons: Annotated[list[ReasonForm], MaxLen(MAX_REASONS)]


def contested_file(entry: Path) -> Path:
    """Where the reasons against an entry are kept."""
    folder = Path(os.path.abspath(entry))
    return folder.parent.parent / "contested" / f"{folder.name}.json"


def reasons(entry: Path) -> list[dict[str, str]]:
    """What is said against an entry; empty where nothing is.

    Raises:
        FileError: the file is malformed.
    """
    path = contested_file(entry)
    if not os.path.lexists(path):
        return []
    data = read_json(path)
    wrong = schema.faults(ContestedForm, data)
    if wrong:
        raise FileError(f"{path}: {'; '.join(wrong[:3])}; clbench contest writes it")
    found: list[dict[str, str]] = data["reasons"]
    return found


def contest(entry: Path, why: str) -> Path:
    """Add a reason against an entry; returns the file.

    Raises:
        UsageError: there is no such entry, or the reason is empty, too long or one of too many.
    """
    if not (entry / "entry.yaml").is_file():
        raise UsageError(f"{entry}: is no entry of a board (leaderboards/BOARD/entries/NAME)")
    why = " ".join(why.split())
    if not why or len(why) > MAX_WHY or not why.isprintable():
        raise UsageError(f"--why: say it in 1 to {MAX_WHY} printable characters")
    try:
        found = reasons(entry)
    except FileError as error:
        raise UsageError(str(error)) from error
    if len(found) >= MAX_REASONS:
        raise UsageError(f"{contested_file(entry)}: has {MAX_REASONS} reasons, which is enough")
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    data = {"reasons": [*found, {"why": why, "when": when}]}
    path = contested_file(entry)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())
    return path
