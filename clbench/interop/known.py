"""What is known of the strategies of avalanche-lib 0.6: found by running each; tests hold it."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "0.6"
"""Of avalanche-lib. Nothing is known of another one: there everything is tried."""


@dataclass(frozen=True)
class Known:
    """What tells one strategy from the others."""

    fails: str = ""
    """Why it cannot be run here."""
    disjoint: bool = False
    """Whether it takes for granted that a class comes in one experience only."""
    grows: str = ""
    """What it keeps of every experience."""


KNOWN: dict[str, Known] = {}
