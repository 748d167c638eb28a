"""Every attack that was found, one a file in ``attacks/``: each has to be caught."""

from __future__ import annotations

from pathlib import Path

import pytest
from attacking import attacks, load, make, outcome

from clbench.configure.board import Board
from clbench.leaderboard.rules.literals import LARGE, large_literals

QUICK = {
    "board_changed",
    "forged_counts",
    "hand_written_ledger",
    "memory_in_a_global",
    "other_source",
}
"""The others run with the slow tests."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return make(tmp_path_factory.mktemp("attacked"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in attacks()],
)
def test_an_attack_is_caught(name: str, small: Board, tmp_path: Path) -> None:
    caught, said = outcome(small, name, tmp_path)
    assert caught, said


def test_the_list_of_quick_ones_names_attacks() -> None:
    assert set(attacks()) > QUICK


@pytest.mark.parametrize("name", ["weights_in_source", "table_of_test_hashes"])
def test_what_a_source_carries_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "source.py"
    path.write_text(load(name).source())
    [(line, size)] = large_literals(path)
    assert size > LARGE
    assert path.read_text().splitlines()[line - 1].split(" = ")[0] in ("WEIGHTS", "DATA")
