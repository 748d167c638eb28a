"""Every attack that was found, one a file in ``attacks/``: each has to be caught."""

from __future__ import annotations

from pathlib import Path

import pytest
from attacking import attacks, load, make, outcome

from clbench.configure.board import Board
from clbench.leaderboard.reproduce.processes import Zygote
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
def test_an_attack_is_caught(name: str, small: Board, tmp_path: Path, zygote: Zygote) -> None:
    caught, said = outcome(small, name, tmp_path, zygote)
    assert caught, said


def test_the_list_of_quick_ones_names_attacks() -> None:
    assert set(attacks()) > QUICK


@pytest.mark.parametrize(
    ("name", "is_named"), [("weights_in_source", False), ("table_of_test_hashes", True)]
)
def test_a_table_in_a_source_is_named_and_a_small_read_out_is_not(
    name: str, is_named: bool, tmp_path: Path
) -> None:
    """The read-out has 1.6 kB: what catches it is fresh data."""
    path = tmp_path / "source.py"
    path.write_text(load(name).source())
    found = large_literals(path)
    assert len(found) == is_named
    for line, size in found:
        assert size > LARGE
        assert path.read_text().splitlines()[line - 1].startswith("DATA = ")
