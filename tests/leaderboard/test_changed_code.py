"""Runs of a changed clbench cannot be entered: that is said before they are run, once a sweep."""

from __future__ import annotations

from typing import Any

import pytest

from clbench.configure.board import Board
from clbench.configure.sweep import sweep
from clbench.sweeps import planner
from clbench.sweeps.planner import Planner


@pytest.mark.parametrize(
    ("changed", "on_board", "times"), [(True, True, 1), (False, True, 0), (True, False, 0)]
)
def test_it_is_said_before_the_first_run_on_a_board(
    tiny_board: Board, monkeypatch: pytest.MonkeyPatch, changed: bool, on_board: bool, times: int
) -> None:
    def version() -> dict[str, Any]:
        return {"clbench": "1", "commit": "c", "dirty": changed}

    monkeypatch.setattr(planner, "code_version", version)
    where = f"board={tiny_board.folder}" if on_board else "scenario=scole"
    said: list[str] = []
    one = Planner(tell=said.append)
    for point in sweep([where, "strategy=naive", "strategy.lr=0.1,0.2", "seed=0..2"]):
        one.run(point)
    assert sum("cannot be entered" in line for line in said) == times
