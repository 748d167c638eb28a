"""Finds points of a sweep that are one run in two spellings: ``strategy.lr=0.1,0.10``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from clbench.engine.build import Run


class Once:
    """Keeps one point for each run. Of two lengths of one run (``max_tasks``) it keeps the longer."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[float, int, Mapping[str, Any]]] = {}
        self._repeats: list[str] = []

    def add(self, number: int, point: Mapping[str, Any], run: Run) -> None:
        """Take in a point of the sweep, by its number, and the run that it asks for."""
        key = (run.run_sha256, run.config.common.seed)
        mine = (math.inf if run.n_tasks is None else run.n_tasks, number, point)
        before = self._kept.setdefault(key, mine)
        if before is mine:
            return
        self._repeats.append(_difference(before[2], point))
        if mine[0] > before[0]:
            self._kept[key] = mine

    @property
    def numbers(self) -> list[int]:
        """The points to run, ascending."""
        return sorted(number for _, number, _ in self._kept.values())

    def note(self) -> str | None:
        """One line on the points that are left out; None where there are none."""
        if not self._repeats:
            return None
        more = len(self._repeats) - 1
        return f"{self._repeats[0]} name one run, which is run once" + (
            f"; so do {more} more of the sweep's points" if more else ""
        )


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """The words in which two points differ; all of them where they differ in none."""
    differing = [k for k in {**a, **b} if k != "overrides" and a.get(k) != b.get(k)]
    sides = []
    for point in (a, b):
        words = [f"{k}={point[k]}" for k in differing if k in point]
        sides.append(" ".join(words) or "nothing else")
    if not differing:
        return " ".join(f"{k}={v}" for k, v in a.items() if k != "overrides") + " (twice)"
    return " and ".join(sides)
