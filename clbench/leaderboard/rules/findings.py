"""What a check finds: the rule, how grave it is, the file, and one line with the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from clbench.configure.board import Board
from clbench.leaderboard.entry import Entry

Level = Literal["error", "warning", "review"]


@dataclass(frozen=True)
class Finding:
    """One thing that a rule has to say about an entry."""

    rule: str
    """As in ``CHECKS``: S1, C2, ..."""
    level: Level
    """error: not valid; warning: valid, but shown; review: valid once somebody has run it again."""
    file: str
    """Relative to the board's folder."""
    message: str
    """What is wrong and what to do, on one line that can be shown."""


Check = Callable[[Board, Entry], Iterator[Finding]]


def error(rule: str, file: str, message: str) -> Finding:
    """A finding that makes an entry invalid."""
    return Finding(rule, "error", shown(file), shown(message))


def warning(rule: str, file: str, message: str) -> Finding:
    """A finding that is shown and harms nothing."""
    return Finding(rule, "warning", shown(file), shown(message))


def review(rule: str, file: str, message: str) -> Finding:
    """A finding that asks for a reproduction."""
    return Finding(rule, "review", shown(file), shown(message))


def shown(text: str) -> str:
    """Text of a stranger as one line that a terminal shows and does not obey."""
    safe = (c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:1000])
    return "".join(safe)


def place(entry: Entry, name: str = "") -> str:
    """A file of an entry, relative to the board's folder."""
    return f"entries/{entry.slug}/{name}".rstrip("/")


def run_place(entry: Entry, seed: int) -> str:
    """The file of a seed's record."""
    return place(entry, f"runs/seed{seed}.json")
