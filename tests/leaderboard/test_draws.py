"""What a search draws, for every strategy that comes with clbench."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tiny import write_board

from clbench import space
from clbench.configure.board import Board
from clbench.configure.config import Known, resolve_point
from clbench.leaderboard.tune import asked
from clbench.plugins.registry import plugins


@pytest.fixture(scope="module")
def trained(tiny_board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board that sets what not every strategy has, or not as it is set."""
    folder = tmp_path_factory.mktemp("trained-boards") / "trained"
    training = {"schedule": "cosine", "memory_bytes": 10_000}
    write_board(dataclasses.replace(tiny_board, folder=folder, training=training))
    return folder


@pytest.mark.parametrize("name", sorted(plugins("strategy")))
def test_whatever_is_drawn_is_a_setting_that_has_an_effect(name: str, trained: Path) -> None:
    search, known = asked([f"board={trained}", f"strategy={name}"]), Known()
    for trial in range(5):
        drawn = space.drawn(search.spaces, "any", trial)
        settings = resolve_point(search.points(drawn)[0], known).strategy
        assert not {key.partition(".")[2] for key in drawn} & settings.without_effect().keys()
