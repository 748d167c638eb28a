"""A small real board with one real entry, run once a session; tests work on copies of it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import declare, make_board, run_on

from clbench.configure.board import Anchor, Board
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.verify import Verifier


@pytest.fixture(scope="session")
def tiny_board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """Twenty tasks of digits, five seeds, and one entry ``naive`` that is valid."""
    from clbench.leaderboard.submit import submit

    root = tmp_path_factory.mktemp("boards")
    board = make_board(root / "tiny")
    arm = run_on(board, root.parent / "tiny-runs", "strategy=naive")
    _, entry = submit(arm, "naive", root)
    declare(entry.folder)
    return board


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """What isolated processes are forked from; it takes seconds to start."""
    with Zygote(1, "cpu") as made:
        yield made


@pytest.fixture
def board(tiny_board: Board, tmp_path: Path) -> Board:
    """A copy of the tiny board, to be tampered with."""
    shutil.copytree(tiny_board.folder.parent, tmp_path / "boards")
    return dataclasses.replace(tiny_board, folder=tmp_path / "boards" / "tiny")


@pytest.fixture
def naive(board: Board) -> Path:
    """The folder of the copy's entry."""
    return board.entries / "naive"


@pytest.fixture
def scaled(board: Board) -> Board:
    """The board with its lower anchor where naive is."""
    values = [
        r.metric(board.primary) or 0.0 for r in load_entry(board.entries / "naive").records.values()
    ]
    return dataclasses.replace(board, naive=Anchor("naive", sum(values) / len(values), 0.01, 10**6))


@pytest.fixture
def verifier(scaled: Board, zygote: Zygote) -> Iterator[Verifier]:
    with Verifier(scaled, perturbed=0, zygote=zygote) as made:
        yield made
