"""Contested entries, the export of all boards, and the boards of other repositories."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import clbench

from clbench.configure.board import Board
from clbench.leaderboard.contest import MAX_REASONS, contested_file
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.models import form_of
from clbench.leaderboard.pages.render import render_all
from clbench.leaderboard.rules.validate import validate, validate_board
from clbench.util import schema

Capture = pytest.CaptureFixture[str]
EVIL = "<script>alert(1)</script> it reads [labels](http://evil)"


def test_a_reason_is_kept_and_shown_escaped(board: Board, naive: Path, capsys: Capture) -> None:
    for why in (EVIL, "its seeds\nare  one"):
        assert clbench(capsys, "contest", naive, "--why", why).code == 0
    assert load_entry(naive).contested == (EVIL, "its seeds are one")
    assert [f for f in validate_board(board) if f.level == "error"] == []
    files = render_all(board.folder.parent, validate)
    page = files[board.folder / "index.html"]
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "its seeds are one" in page
    [found] = json.loads(files[board.folder.parent / "boards.json"])["boards"]
    assert found["entries"][0]["contested"] == [EVIL, "its seeds are one"]


@pytest.mark.parametrize(("why", "n"), [("", 0), (" \n", 0), ("x" * 1001, 0), ("x", MAX_REASONS)])
def test_what_is_no_reason_is_refused(naive: Path, capsys: Capture, why: str, n: int) -> None:
    for k in range(n):
        clbench(capsys, "contest", naive, "--why", f"reason {k}")
    code, _, err = clbench(capsys, "contest", naive, "--why", why)
    assert (code, err.count("\n")) == (2, 1)
    assert len(load_entry(naive).contested) == n


def test_a_malformed_file_is_a_finding(board: Board, naive: Path, capsys: Capture) -> None:
    path = contested_file(naive)
    path.parent.mkdir()
    path.write_text('{"reasons": [{"why": 1}]}')
    assert any("clbench contest writes it" in f.message for f in validate(board, load_entry(naive)))
    path.rename(path.with_name("nobody.json"))
    assert any("is of no entry" in f.message for f in validate_board(board))
    assert clbench(capsys, "contest", board.folder, "--why", "x").code == 2


def test_all_boards_are_exported_and_those_of_others_are_their_word(
    board: Board, capsys: Capture, tmp_path: Path
) -> None:
    here, there = board.folder.parent, tmp_path / "theirs" / "leaderboards"
    shutil.copytree(here, there)
    code, _, err = clbench(capsys, "leaderboard", "--boards", here, there)
    assert code == 0, err
    data = json.loads((here / "boards.json").read_text())
    assert schema.faults(form_of("boards"), data) == []
    assert [found["repository"] for found in data["boards"]] == ["", "theirs"]
    assert [len(found["entries"]) for found in data["boards"]] == [1, 1]
    assert "What it says was verified is its word" in (here / "index.html").read_text()
    assert not (there / "boards.json").exists()
    assert clbench(capsys, "leaderboard", "--boards", here, there, "--check").code == 0
    assert clbench(capsys, "leaderboard", "--boards", here, "--check").code == 1
    assert clbench(capsys, "leaderboard", "--boards", here, tmp_path).code == 2
