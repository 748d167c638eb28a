"""Sources of entries by content: one file for equal sources, each named, none unused."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import edit_yaml, with_own_source

from clbench.cli import main
from clbench.configure.board import Board
from clbench.errors import UsageError
from clbench.leaderboard import shared
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.verify import point_of
from clbench.leaderboard.rules.shared import validate_sources
from clbench.leaderboard.rules.validate import validate, validate_board

Change = Callable[[Path, Path], Any]
"""Of the shared source and its entry's folder."""


def errors(board: Board) -> set[str]:
    """The rules that refuse something of the board or of the shared sources."""
    found = [*validate_board(board), *validate_sources(board.folder.parent)]
    assert all((f.file + f.message).isprintable() for f in found)
    return {f.rule for f in found if f.level == "error"}


def rename_by_content(source: Path, entry: Path, text: str) -> None:
    """Another source under its right name, and the entry names it."""
    source.write_text(text)
    sha = hashlib.sha256(source.read_bytes()).hexdigest()
    source.rename(source.with_name(f"{sha}.py"))
    edit_yaml(entry / "entry.yaml", sources={"strategy": sha})


def link(source: Path, entry: Path) -> None:
    source.rename(source.parents[2] / "elsewhere")
    source.symlink_to(source.parents[2] / "elsewhere")


def replace(source: Path, make: Callable[[Path], Any]) -> None:
    source.unlink()
    make(source)


REFUSED: dict[str, tuple[Change, set[str]]] = {
    "an edited source": (lambda s, e: s.write_text(s.read_text() + "\nx = 1\n"), {"S1", "C3"}),
    "a comment more": (lambda s, e: s.write_text(s.read_text() + "# x\n"), {"S1"}),
    "another source": (lambda s, e: rename_by_content(s, e, s.read_text() + "\nx = 1\n"), {"C3"}),
    "no Python": (lambda s, e: rename_by_content(s, e, ")("), {"C3"}),
    "a large source": (lambda s, e: rename_by_content(s, e, "#" * (1 << 18)), {"S1", "C3"}),
    "a missing source": (lambda s, e: s.unlink(), {"S1"}),
    "a link": (link, {"S1", "C3"}),
    "a pipe": (lambda s, e: replace(s, os.mkfifo), {"S1", "C3"}),
    "a folder": (lambda s, e: replace(s, Path.mkdir), {"S1", "C3"}),
    "a link to nowhere": (lambda s, e: replace(s, lambda p: p.symlink_to("nowhere")), {"S1"}),
    "a source twice": (lambda s, e: shutil.copy(s, e / "strategy.py"), {"S1"}),
    "a model in closed": (
        lambda s, e: edit_yaml(e / "entry.yaml", sources={"strategy": s.stem, "model": s.stem}),
        {"C1", "C3"},
    ),
    "none named": (lambda s, e: edit_yaml(e / "entry.yaml", sources={}), {"S1"}),
    "a path for a hash": (
        lambda s, e: edit_yaml(e / "entry.yaml", sources={"strategy": "../../x"}),
        {"S3"},
    ),
    "an unknown group": (
        lambda s, e: edit_yaml(e / "entry.yaml", sources={"strategy": s.stem, "engine": s.stem}),
        {"S3"},
    ),
    "an unused source": (lambda s, e: shutil.copy(s, s.with_name("0" * 64 + ".py")), {"S1"}),
    "a name that is no hash": (lambda s, e: (s.parent / "x.py").write_text(""), {"S1"}),
    "a file of another kind": (lambda s, e: (s.parent / "x.sh").write_text(""), {"S1"}),
    "a name that obeys": (lambda s, e: (s.parent / "a\n\x1b[2J").write_text(""), {"S1"}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_source_is_refused(what: str, board: Board, naive: Path):
    assert errors(board) == set()
    change, rules = REFUSED[what]
    change(load_entry(naive).source, naive)
    assert errors(board) == rules


def test_a_linked_folder_of_sources_is_refused(board: Board, tmp_path: Path):
    folder = board.folder.parent / "sources"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert errors(board) == {"S1"}


def test_an_unnamed_source_is_refused_by_the_command(
    board: Board, naive: Path, capsys: pytest.CaptureFixture[str]
):
    root = board.folder.parent
    data = b'"""Nobody\'s."""\n'
    sha = shared.keep(root, data)
    assert main(["validate", str(root)]) == 1
    said = capsys.readouterr().out
    assert said == f"error   S1 {root}/sources/{sha}.py: is named by no entry: remove it\n"
    assert main(["validate", str(root), "--json"]) == 1
    assert [f["file"] for f in json.loads(capsys.readouterr().out)] == [f"sources/{sha}.py"]
    assert main(["validate", str(naive)]) == 0, "of one entry, only its own source is asked for"
    # What an unreadable entry names is unknown, so that no source is called unused.
    (naive / "entry.yaml").write_text("- a list")
    assert [*validate_sources(root)] == []


def test_an_entry_may_hold_its_source_itself(board: Board, naive: Path):
    before = point_of(board, load_entry(naive), load_entry(naive).records[0])
    entry = load_entry(with_own_source(naive))
    assert entry.source == naive / "strategy.py"
    assert validate(board, entry) == []
    after = point_of(board, entry, entry.records[0])
    assert after | {"strategy": before["strategy"]} == before


def test_nothing_is_verified_with_a_source_that_was_changed(board: Board, naive: Path):
    entry = load_entry(naive)
    text = entry.source.read_text()
    entry.source.write_text(text + "# edited\n")
    with pytest.raises(UsageError, match="was changed; its name is the hash of its content"):
        point_of(board, entry, entry.records[0])
    entry.source.unlink()
    with pytest.raises(UsageError, match="is missing; naive names it as its strategy"):
        point_of(board, entry, entry.records[0])


@pytest.mark.parametrize(
    "sources",
    ["", "sources: {}\n", "sources:\n  strategy: old  # mine\n", "sources: {strategy: old}\n"],
)
@pytest.mark.parametrize("after", ["", "url: x\n", "# the end\n"])
def test_naming_another_source_keeps_what_was_written(sources: str, after: str, tmp_path: Path):
    path = tmp_path / "entry.yaml"
    path.write_text(f"# who\nname: A  # shown\n{sources}{after}")
    text = shared.with_sources(path, {"strategy": "new"})
    assert text == f"# who\nname: A  # shown\n{after}sources:\n  strategy: new\n"


def test_a_file_that_would_lose_something_is_not_changed(tmp_path: Path):
    path = tmp_path / "entry.yaml"
    path.write_text("{name: A, sources: {strategy: old}}")
    with pytest.raises(UsageError, match="by hand"):
        shared.with_sources(path, {"strategy": "new"})


def test_the_repository_keeps_each_source_once():
    root = Path(__file__).parents[2] / "leaderboards"
    assert [*validate_sources(root)] == []
    assert not [*root.glob("*/entries/*/*.py")]
    used = shared.named(root)
    assert {path.stem for path in (root / "sources").glob("*.py")} == set(used)
    named = [folder for folders in used.values() for folder in folders]
    assert len(named) == len(set(named)) == len([*root.glob("*/entries/*/entry.yaml")])


def test_records_of_the_repository_hold_no_diagnostics():
    root = Path(__file__).parents[2] / "leaderboards"
    for path in root.glob("*/entries/*/runs/*.json"):
        assert '"diagnostics":{}' in path.read_text(), path


def test_sources_are_read_from_entry_yaml(board: Board, naive: Path):
    sha = yaml.safe_load((naive / "entry.yaml").read_text())["sources"]["strategy"]
    assert load_entry(naive).source == board.folder.parent / "sources" / f"{sha}.py"


def test_an_installed_board_says_that_its_entries_are_elsewhere(
    board: Board,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """As a wheel lays it out: boards inside the package, without entries."""
    package = tmp_path / "clbench"
    folder = package / "leaderboards" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(board.folder / "board.yaml", folder)
    monkeypatch.setattr("clbench.configure.board.PACKAGE", package)
    monkeypatch.setattr("clbench.leaderboard.entry.PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    inside = str(package / "leaderboards")
    for words in (
        ["validate"],
        ["validate", str(folder)],
        ["compare", "ewc", "naive", "--board", "tiny"],
        ["leaderboard", "--boards", inside],
        ["leaderboard", "tiny", "--boards", inside],
    ):
        assert main(words) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert "its entries do not come with an installed clbench; give --boards" in said.err
    assert not (folder / "README.md").exists()


def test_the_wheel_takes_no_runs_and_no_sources():
    """The patterns of package data, laid over the folder that they are for."""
    root = Path(__file__).parents[2]
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg")
    patterns = config["options.package_data"]["clbench.leaderboards"].split(",")
    taken = {path for p in patterns for path in (root / "leaderboards").glob(p.strip())}
    parts = {path.relative_to(root / "leaderboards").parts for path in taken}
    assert not {part for part in parts if "entries" in part or "sources" in part}
    boards = {path.parent.name for path in (root / "leaderboards").glob("*/board.yaml")}
    assert {(board, "board.yaml") for board in boards} <= parts
    assert sum(path.stat().st_size for path in taken) < 1 << 20
    packages = config["options"]["packages"].split()
    assert [p for p in packages if p.startswith("clbench.leaderboards")] == ["clbench.leaderboards"]
