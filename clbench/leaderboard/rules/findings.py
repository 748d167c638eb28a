"""Findings of checks: the rule, the level, the file, and one line with the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from clbench.configure.board import Board
from clbench.leaderboard.entry import Entry
from clbench.util.console import printable

Level = Literal["error", "warning", "review"]


@dataclass(frozen=True)
class Finding:
    """One result of a rule about an entry."""

    rule: str
    """The rule as in ``RULES``: S1, C2, ..."""
    level: Level
    """error: invalid; warning: valid, but shown; review: valid after the entry was run again."""
    file: str
    """Relative to the board's folder."""
    message: str
    """What is wrong and what to do, in one printable line."""


Check = Callable[[Board, Entry], Iterator[Finding]]


def error(rule: str, file: str, message: str) -> Finding:
    """Make a finding that makes an entry invalid."""
    return Finding(rule, "error", shown(file), shown(message))


def warning(rule: str, file: str, message: str) -> Finding:
    """Make a finding that is shown and does not affect validity."""
    return Finding(rule, "warning", shown(file), shown(message))


def review(rule: str, file: str, message: str) -> Finding:
    """Make a finding that asks for a reproduction."""
    return Finding(rule, "review", shown(file), shown(message))


def shown(text: str) -> str:
    """Make one line of untrusted text, without control sequences for a terminal."""
    return printable(text[:1000])


def place(entry: Entry, name: str = "") -> str:
    """A file of an entry, relative to the board's folder."""
    return f"entries/{entry.slug}/{name}".rstrip("/")


def ledger_place(entry: Entry) -> str:
    """The file of what the verifier found of an entry."""
    return f"verified/{entry.slug}.json"


def run_place(entry: Entry, seed: int) -> str:
    """The file of a seed's record."""
    return place(entry, f"runs/seed{seed}.json")
