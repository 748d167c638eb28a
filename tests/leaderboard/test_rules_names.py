"""Rule S3 of names: what pages show can be read, and no entry passes for another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from synthetic import ledger_of
from tiny import edit_yaml

from clbench.configure.board import Board
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.pages.summary import summarise
from clbench.leaderboard.rules.validate import validate, validate_board
from clbench.leaderboard.verification import write_verification

TEXTS: dict[str, tuple[dict[str, Any], str]] = {
    "a filler": ({"name": "naiveㅤ"}, "name holds U+3164, which cannot be seen"),
    "a zero width": ({"name": "na\u200bive"}, "name holds characters that cannot be shown"),
    "an override": ({"authors": ["A\u202eB"]}, "authors[0] holds characters that cannot be shown"),
    "two alphabets": ({"name": "nаive"}, "name mixes Cyrillic and Latin letters in the word"),
    "a blank author": ({"authors": ["A", "---"]}, "authors has no letter or digit"),
    "marks alone": ({"name": "\u0301\u0302"}, "name has combining marks without a letter"),
    "a variant": ({"description": "a\ufe0f"}, "description holds U+FE0F"),
    "an affiliation": ({"affiliation": "Unіversity"}, "affiliation mixes Cyrillic and Latin"),
    "a source": (
        {"paper_reference": {"value": 0.5, "source": "Fіg. 2", "comparable": False}},
        "paper_reference.source mixes",
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_texts_that_do_not_show_what_they_hold_are_refused(
    board: Board, naive: Path, what: str
) -> None:
    values, said = TEXTS[what]
    edit_yaml(naive / "entry.yaml", **values)
    found = [f for f in validate(board, load_entry(naive)) if f.level == "error"]
    assert {f.rule for f in found} == {"S3"}
    assert any(f.message.startswith(said) for f in found), found
    assert all(f.message.isprintable() for f in found)


@pytest.mark.parametrize("name", ["naive", "NAIVE", "ｎａｉｖｅ", " naive", "naïve", "nаivе"])
def test_a_name_that_looks_like_anothers_is_refused(board: Board, naive: Path, name: str) -> None:
    """The verified entry keeps it, whatever the folders are called; else none of them does."""
    other = shutil.copytree(naive, naive.with_name("aaa"))
    edit_yaml(other / "entry.yaml", name=name)

    def refused() -> set[str]:
        taken = "name looks like that of entries/"
        return {f.file for f in validate_board(board) if f.message.startswith(taken)}

    assert refused() == {"entries/aaa/entry.yaml", "entries/naive/entry.yaml"}
    write_verification(load_entry(naive), ledger_of(board, load_entry(naive)))
    assert refused() == {"entries/aaa/entry.yaml"}
    assert [row.slug for row in summarise(board, validate) if row.ranked] == ["naive"]
    edit_yaml(other / "entry.yaml", name="another")
    assert refused() == set()


def test_a_board_with_an_unreadable_entry_names_the_others(board: Board, naive: Path) -> None:
    other = naive.with_name("broken")
    other.mkdir()
    (other / "entry.yaml").write_text("name: [")
    assert [f.level for f in validate(board, load_entry(naive))] == []
