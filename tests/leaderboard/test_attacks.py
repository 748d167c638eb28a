"""Every attack that was found, one a file in ``attacks/``: each has to be caught."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest
from attacking import attacks, load, make, outcome
from tiny import with_own_source

from clbench.configure.board import Board, builtin_boards
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.rules.literals import LARGE, MOST_CARRIED, carried, large_literals
from clbench.leaderboard.rules.validate import validate
from clbench.plugins.registry import plugins

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
    ("name", "is_named"),
    [("weights_in_source", False), ("weights_in_parts", False), ("table_of_test_hashes", True)],
)
def test_weights_in_a_source_are_named_as_a_literal_or_as_a_sum(
    name: str, is_named: bool, tmp_path: Path
) -> None:
    """The read-out has 1.6 kB, which is no large literal: what names it is the sum."""
    path = tmp_path / "source.py"
    path.write_text(load(name).source())
    found = large_literals(path)
    assert len(found) == is_named
    for line, size in found:
        assert size > LARGE
        assert path.read_text().splitlines()[line - 1].startswith("DATA = ")
    sizes = carried(path.read_bytes())
    assert sizes["numbers and long words"] > MOST_CARRIED["numbers and long words"]


WEIGHTS = random.Random(0).randbytes(5000)
DIGITS = WEIGHTS.hex()
LINES = [DIGITS[i : i + 80] for i in range(0, len(DIGITS), 80)]
IN_PARTS = {
    "short literals": [f"W.append('{line}')" for line in LINES[:50]],
    "numbers": [f"W.append({byte / 255:.5f})" for byte in WEIGHTS[:800]],
    "comments": [f"# {line}" for line in LINES[:50]],
    "short words": [f"# {' '.join(re.findall('.{8}', line))}" for line in LINES],
    "docstrings": [f"def f{k}():\n    '{line}'" for k, line in enumerate(LINES[:50])],
    "names": [f"x{line} = 1" for line in LINES[:50]],
    "white space": ["#" + f"{byte:08b}".translate({48: 32, 49: 9}) for byte in WEIGHTS],
    "operators": ["1" + "".join("+-"[byte >> k & 1] for k in range(8)) + "1" for byte in WEIGHTS],
}


@pytest.mark.parametrize("way", IN_PARTS)
def test_many_small_parts_are_named_as_their_sum(way: str, small: Board, tmp_path: Path) -> None:
    shutil.copytree(small.folder.parent, tmp_path / "boards")
    folder = with_own_source(tmp_path / "boards" / small.name / "entries" / "honest")
    path = folder / "strategy.py"

    def said() -> list[str]:
        return [f.message for f in validate(small, load_entry(folder)) if f.rule == "S4"]

    assert said() == []
    path.write_text("\n".join([path.read_text(), "W = []", *IN_PARTS[way], ""]))
    assert large_literals(path) == []
    assert any("compressed, take" in line for line in said())


def test_no_strategy_or_model_of_ours_is_named() -> None:
    paths = [p.path for group in ("strategy", "model") for p in plugins(group).values()]
    paths += sorted((builtin_boards() / "sources").glob("*.py"))
    for path in paths:
        sizes = carried(path.read_bytes())
        assert all(1.3 * size < MOST_CARRIED[part] for part, size in sizes.items()), path


def test_a_source_that_is_no_python_is_summed_as_a_literal() -> None:
    sizes = carried(b"x = (" + WEIGHTS + b"'''")
    assert sizes["literals and comments"] > 2000
