"""What a contribution may change, in a repository of git; and entries that have code and no runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import clbench
from synthetic import ledger_of
from tiny import declare, edit_yaml

from clbench.configure.board import Board
from clbench.leaderboard.entry import iter_entries, load_entry
from clbench.leaderboard.pages.summary import summarise
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.submit import submit_code
from clbench.leaderboard.verification import write_verification

Capture = pytest.CaptureFixture[str]
GIT = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
MINE = """
from clbench import GradientStrategy
class Mine(GradientStrategy):
    pass
"""


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *GIT, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(board: Board) -> Path:
    """The folder of boards in a repository whose base is tagged; returns the boards' folder."""
    root = board.folder.parent
    git(root.parent, "init", "-q", "-b", "main")
    (root.parent / "README.md").write_text("here\n")
    git(root.parent, "add", "README.md", root.name)
    git(root.parent, "commit", "-qm", "base")
    git(root.parent, "tag", "base")
    return root


def since(root: Path, capsys: Capture) -> tuple[int, str, str]:
    git(root.parent, "add", "-A", "README.md", root.name)
    git(root.parent, "commit", "-qm", "more", "--allow-empty")
    code, out, err = clbench(capsys, "validate", "--since", "base", "--boards", root)
    return code, out, err


def enter(root: Path) -> Path:
    source = root.parent / "mine.py"
    source.write_text(MINE)
    _, entry = submit_code(source, "tiny", "mine", root)
    source.unlink()
    edit_yaml(
        entry.folder / "entry.yaml",
        declaration={"no_test_data": True, "no_evaluation_seed_tuning": True},
    )
    return entry.folder


def test_code_alone_is_a_contribution(repository: Path, capsys: Capture) -> None:
    folder = enter(repository)
    code, out, _ = since(repository, capsys)
    assert code == 0, out
    assert "has no runs: clbench verify --fill" in out
    entry = load_entry(folder)
    assert entry.meta is not None
    assert (entry.meta.strategy, entry.meta.division) == ("mine", "network")
    assert entry.records == {}


def test_nothing_is_a_contribution_of_nothing(repository: Path, capsys: Capture) -> None:
    assert since(repository, capsys)[0] == 0


def link(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/etc/passwd")


def text(path: Path, said: str = "x\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(said)


X = hashlib.sha256(b"x = 1").hexdigest()
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a ledger": (lambda r: text(r / "tiny/verified/mine.json", "{}"), "only clbench verify"),
    "a pin": (lambda r: text(r / "tiny/verified/board.json", "{}"), "only clbench verify"),
    "a board": (lambda r: text(r / "tiny/board.yaml"), "no file of an entry"),
    "a new board": (lambda r: shutil.copytree(r / "tiny", r / "other"), "no file of an entry"),
    "an entry of no board": (lambda r: text(r / "no/entries/a/entry.yaml"), "that is not here"),
    "another's entry": (
        lambda r: text(r / "tiny/entries/naive/tuning.json"), "of an entry that was there before",
    ),
    "another's record": (lambda r: text(r / "tiny/entries/naive/runs/seed0.json"), "was there"),
    "a record less": (lambda r: (r / "tiny/entries/naive/runs/seed0.json").unlink(), "was there"),
    "a file outside": (lambda r: text(r.parent / "README.md", "mine\n"), "is outside the boards"),
    "a source by another name": (
        lambda r: text(r / "sources" / f"{'0' * 64}.py", "x = 1\n"), "other content",
    ),
    "a source of no entry": (
        lambda r: text(r / "sources" / f"{X}.py", "x = 1"),
        "is named by no entry.yaml of this contribution",
    ),
    "a source that a comment names": (
        lambda r: (
            text(r / "sources" / f"{X}.py", "x = 1"),
            text(r / "tiny/entries/mine/entry.yaml", f"# {X}\nname: mine\n"),
        ), "is named by no entry.yaml of this contribution",
    ),
    "many entries": (
        lambda r: [text(r / f"tiny/entries/a{k}/entry.yaml") for k in range(51)],
        "adds 51 entries; at most 50",
    ),
    "a large source": (
        lambda r: text(
            r / "sources" / f"{hashlib.sha256(b'#' * 70_000).hexdigest()}.py", "#" * 70_000
        ), "is larger than 64 KiB",
    ),
    "a script": (lambda r: text(r / "sources" / "conftest.py"), "no file of an entry"),
    "a link": (lambda r: link(r / "tiny/entries/mine/strategy.py"), "is a link"),
    "a name in capitals": (lambda r: text(r / "tiny/entries/Mine/entry.yaml"), "has a name"),
    "an odd name": (lambda r: text(r / "tiny/entries/a\nb/entry.yaml"), "has a name"),
    "a hidden file": (lambda r: text(r / "tiny/entries/mine/.env"), "no file of an entry"),
    "a page": (lambda r: text(r / "index.html"), "no file of an entry"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_all_else_is_refused(repository: Path, capsys: Capture, what: str) -> None:
    change, said = REFUSED[what]
    change(repository)
    code, out, _ = since(repository, capsys)
    assert code == 1
    assert said in out
    assert "\nb/" not in out  # names are shown on one line


@pytest.mark.parametrize("n", [2, 3])
def test_a_board_takes_as_many_entries_as_are_read(
    repository: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    monkeypatch.setattr("clbench.leaderboard.rules.since.MAX_ENTRIES", n)
    mine = enter(repository)
    other = shutil.copytree(mine, mine.with_name("other"))
    edit_yaml(other / "entry.yaml", name="other")
    code, out, _ = since(repository, capsys)
    assert (code, "tiny/entries: would hold 3 entries; at most 2" in out) == (n < 3, n < 3)


def test_new_entries_do_not_push_a_verified_one_out(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come first by name, and the board is full."""
    naive = load_entry(board.entries / "naive")
    write_verification(naive, ledger_of(board, naive))
    for k in range(3):
        text(board.entries / f"a{k}" / "entry.yaml")
    monkeypatch.setattr("clbench.leaderboard.entry.MAX_ENTRIES", 2)
    assert [entry.slug for entry in iter_entries(board)] == ["a0", "naive"]
    assert [row.slug for row in summarise(board, validate)] == ["naive", "a0"]


def test_a_source_that_can_be_run_is_refused(repository: Path, capsys: Capture) -> None:
    sha = hashlib.sha256(b"x = 1\n").hexdigest()
    text(repository / "sources" / f"{sha}.py", "x = 1\n")
    os.chmod(repository / "sources" / f"{sha}.py", 0o755)
    code, out, _ = since(repository, capsys)
    assert (code, "can be run" in out) == (1, True)


def test_what_the_base_did_meanwhile_is_not_the_contributions(
    repository: Path, capsys: Capture
) -> None:
    git(repository.parent, "checkout", "-q", "-b", "theirs")
    enter(repository)
    since(repository, capsys)
    git(repository.parent, "checkout", "-q", "main")
    text(repository.parent / "README.md", "newer\n")
    git(repository.parent, "commit", "-qam", "base goes on")
    git(repository.parent, "tag", "-f", "base")
    git(repository.parent, "checkout", "-q", "theirs")
    assert since(repository, capsys)[0] == 0


@pytest.mark.parametrize("ref", ["nothing", "--output=x", "base:README.md"])
def test_a_base_that_is_none_is_one_line(repository: Path, capsys: Capture, ref: str) -> None:
    code, _, err = clbench(capsys, "validate", f"--since={ref}", "--boards", repository)
    assert (code, err.count("\n")) == (2, 1)
    assert "--since: git rev-parse failed" in err


def test_runs_are_filled_in_and_are_those_of_an_ordinary_run(
    board: Board, capsys: Capture, tmp_path: Path
) -> None:
    from clbench.leaderboard.submit import fill

    folder = enter(board.folder.parent)
    (tmp_path / "out").mkdir()
    entry = fill(board, load_entry(folder), tmp_path / "out")
    assert sorted(entry.records) == [*board.seeds]
    naive = load_entry(board.entries / "naive")
    for seed in board.seeds:  # it adds nothing to naive
        assert entry.records[seed].predictions_sha256 == naive.records[seed].predictions_sha256
    declare(folder)
    wrong = [f for f in validate(board, load_entry(folder)) if f.level == "error"]
    assert wrong == []
    code, _, err = clbench(
        capsys, "submit", "--code", tmp_path / "x.py", "--entry", "mine", "--boards", folder
    )
    assert (code, "goes with --board NAME" in err) == (2, True)
