"""The sizes of memories in the study at equal bytes: the largest whose whole state fits."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("budget", [5_000, 20_000, 250_000, 1_000_000])
@pytest.mark.parametrize("held", [0.0, 0.3, 3.0, 40.0])
def test_a_size_is_the_largest_that_fits(
    monkeypatch: pytest.MonkeyPatch, budget: int, held: float
) -> None:
    """Also where what is held only while it learns grows with the size, and not evenly."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    grid = importlib.import_module("memory_grid")
    calls = []

    def besides(run: Any, size: int) -> int:
        calls.append(size)
        return int(held * size**1.3) + run

    def bytes_with(run: Any, size: int, held: int = 0) -> int:
        return 12_000 + 90 * size + held

    monkeypatch.setattr(grid, "held_while_learning", besides)
    monkeypatch.setattr(grid, "bytes_with", bytes_with)
    found = grid.largest_held([7, 0, 5], budget)

    def total(size: int) -> int:
        return bytes_with(None, size, int(held * size**1.3) + 7)

    if total(1) > budget:
        assert found is None
        return
    assert total(found) <= budget
    assert total(found + 1) > budget or total(found) >= 0.99 * budget
    assert len(set(calls)) <= 8
