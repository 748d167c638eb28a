"""Submitting: what is copied where, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml
from commands import clbench
from small import points, write_npz
from tiny import edit, edit_yaml, plain, run_on

from clbench.configure.board import Board, load_board
from clbench.engine.execute import Options
from clbench.errors import UsageError
from clbench.leaderboard import submit as submitting
from clbench.leaderboard.rules.findings import Finding, error
from clbench.leaderboard.submit import submit
from clbench.sweeps.local import run_all
from clbench.util.hashing import sha256_of


@pytest.fixture(scope="module")
def finished(tiny_board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two seeds on the tiny board."""
    out = tmp_path_factory.mktemp("runs")
    return run_on(tiny_board, out, "strategy=naive", "seed=0,1")


@pytest.fixture
def arm(finished: Path, tmp_path: Path) -> Path:
    """A copy of the runs, to be tampered with."""
    return shutil.copytree(finished, tmp_path / "arm")


def without_diagnostics(path: Path) -> bytes:
    """A record's bytes, less its diagnostics, with the digest of the rest."""
    data = {**plain(path.read_text()), "diagnostics": {}}
    text = json.dumps({**data, "content_sha256": sha256_of(data)}, separators=(",", ":"))
    return f"{text}\n".encode()


def test_records_and_source_are_copied(board: Board, arm: Path) -> None:
    found, entry = submit(arm, "mine", board.folder.parent)
    assert found.folder == board.folder
    assert entry.folder == board.entries / "mine"
    assert sorted(entry.records) == [0, 1]
    for seed in (0, 1):
        copied = entry.folder / "runs" / f"seed{seed}.json"
        assert copied.read_bytes() == without_diagnostics(arm / f"seed{seed}" / "record.json")
    assert entry.source.read_bytes() == (arm / "seed0" / "strategy.py").read_bytes()
    assert entry.source.parent == board.folder.parent / "sources"
    assert entry.source.stem == hashlib.sha256(entry.source.read_bytes()).hexdigest()
    assert set(yaml.safe_load((entry.folder / "entry.yaml").read_text())["sources"]) == {"strategy"}
    assert {path.name for path in entry.folder.iterdir()} == {"entry.yaml", "runs"}
    assert not entry.problems


def test_the_skeleton_declares_nothing_yet(board: Board, arm: Path) -> None:
    _, entry = submit(arm, "mine", board.folder.parent)
    assert entry.meta is not None
    assert (entry.meta.name, entry.meta.strategy, entry.meta.division) == (
        "mine",
        "naive",
        "network",
    )
    assert set(entry.meta.declaration.values()) == {False}
    assert entry.meta.authors == ()


def test_a_fresh_folder_gets_the_board(
    board: Board, arm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with an installed clbench has no leaderboards of their own."""
    monkeypatch.setattr(submitting, "find_board", _comes_with(board))
    root = tmp_path / "fresh" / "leaderboards"
    found, entry = submit(arm, "mine", root)
    assert found.folder == root / "tiny"
    assert entry.folder == root / "tiny" / "entries" / "mine"
    assert load_board(root / "tiny").sha256 == board.sha256
    assert (root / "tiny" / "entries" / "naive" / "entry.yaml").is_file()
    assert not (board.entries / "mine").exists()


def _comes_with(board: Board):  # type: ignore[no-untyped-def]
    def find(name: str, root: Path | None = None) -> Board:
        assert name == board.name
        return load_board(board.folder if root is None else root / name)

    return find


def test_an_open_entry_takes_its_model_along(board: Board, tmp_path: Path) -> None:
    words = ("strategy=naive", "division=open", "model=linear", "seed=0")
    _, entry = submit(run_on(board, tmp_path, *words), "mine", board.folder.parent)
    assert "linear" in entry.source_of("model").read_text().lower()
    assert entry.meta is not None
    assert entry.meta.division == "open"


def test_submitting_again_replaces_records_and_keeps_what_was_written(
    board: Board, arm: Path
) -> None:
    _, entry = submit(arm, "mine", board.folder.parent)
    edit_yaml(entry.folder / "entry.yaml", authors=["A. Author"])
    written = (entry.folder / "entry.yaml").read_bytes()
    shutil.rmtree(arm / "seed1")
    edit(arm / "seed0" / "record.json", lambda data: data["code"].update(commit="1" * 40))
    _, again = submit(arm, "mine", board.folder.parent)
    assert sorted(again.records) == [0]
    assert again.records[0].code["commit"] == "1" * 40
    assert (again.folder / "entry.yaml").read_bytes() == written


def test_another_strategys_entry_is_not_overwritten(board: Board, arm: Path) -> None:
    folder = board.entries / "naive"
    edit_yaml(folder / "entry.yaml", strategy="ewc")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="entry of another strategy"):
        submit(arm, "naive", board.folder.parent)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("slug", ["", "Mine", "a/b", "..", "-a", "a" * 61, "ä", "a b"])
def test_bad_names_are_refused(board: Board, arm: Path, slug: str) -> None:
    with pytest.raises(UsageError, match="--entry"):
        submit(arm, slug, board.folder.parent)


def test_a_folder_without_runs_is_refused(board: Board, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no seed\*/record.json"):
        submit(tmp_path, "mine", board.folder.parent)


def test_runs_without_a_board_are_refused(board: Board, tmp_path: Path) -> None:
    words = points(
        "scenario=scole",
        "scenario.n_tasks=2",
        "strategy=naive",
        npz=write_npz(tmp_path / "blobs.npz"),
    )
    [done] = run_all(words, Options(out=tmp_path, quiet=True, curve=False))
    with pytest.raises(UsageError, match="was not run on a board"):
        submit(done.folder.parent, "mine", board.folder.parent)


def test_runs_of_two_boards_are_refused(board: Board, arm: Path) -> None:
    edit(arm / "seed1" / "record.json", lambda data: data["board"].update(name="other"))
    with pytest.raises(UsageError, match="several boards: other, tiny"):
        submit(arm, "mine", board.folder.parent)
    assert not (board.entries / "mine").exists()


def test_seeds_of_two_sources_are_refused(board: Board, arm: Path) -> None:
    edit(arm / "seed1" / "record.json", lambda data: data["sources"].update(engine="0" * 64))
    submit(arm, "mine", board.folder.parent)  # as long as the version of results is the same
    edit(arm / "seed1" / "record.json", lambda data: data["sources"].update(strategy="0" * 64))
    with pytest.raises(UsageError, match=r"seed1: ran other source than seed 0: .*--overwrite"):
        submit(arm, "other", board.folder.parent)
    assert not (board.entries / "other").exists()


def test_the_skeleton_is_yaml_with_hints(board: Board, arm: Path) -> None:
    _, entry = submit(arm, "mine", board.folder.parent)
    text = (entry.folder / "entry.yaml").read_text()
    assert text.startswith("#")
    assert yaml.safe_load(text)["tuned_on"] == []


def test_a_record_without_diagnostics_is_copied_as_it_is(board: Board, arm: Path) -> None:
    path = arm / "seed0" / "record.json"
    assert json.loads(path.read_text())["diagnostics"], "else there is nothing to leave out"
    edit(path, lambda data: data["diagnostics"].clear())  # and with spaces, as nobody writes it
    _, entry = submit(arm, "mine", board.folder.parent)
    assert (entry.folder / "runs" / "seed0.json").read_bytes() == path.read_bytes()


def test_submitting_another_source_drops_the_one_that_nobody_names(board: Board, arm: Path) -> None:
    root = board.folder.parent
    _, first = submit(arm, "mine", root)
    (arm / "seed0" / "strategy.py").write_text('"""Another."""\n')
    _, second = submit(arm, "mine", root)
    assert second.source != first.source
    assert first.source.is_file(), "entries/naive names it"
    (arm / "seed0" / "strategy.py").write_text('"""A third."""\n')
    _, third = submit(arm, "mine", root)
    assert not second.source.exists()
    assert {p.name for p in (root / "sources").iterdir()} == {first.source.name, third.source.name}


def test_an_entry_that_held_its_source_names_it_from_then_on(board: Board, arm: Path) -> None:
    _, entry = submit(arm, "mine", board.folder.parent)
    (entry.folder / "strategy.py").write_bytes(entry.source.read_bytes())
    edit_yaml(entry.folder / "entry.yaml", sources={})
    _, again = submit(arm, "mine", board.folder.parent)
    assert again.source == entry.source
    assert not (entry.folder / "strategy.py").exists()


def test_what_is_to_be_filled_in_is_no_error_and_an_error_is(
    board: Board,
    arm: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("submit", arm, "--entry", "mine", "--boards", board.folder.parent)
    found: list[Finding] = [error("S3", "entries/mine/entry.yaml", "declare it")]
    monkeypatch.setattr("clbench.leaderboard.rules.validate.validate", lambda *_: found)
    ran = clbench(capsys, *words)
    assert ran.code == 0
    assert ran.out.startswith("to fill in: S3 entries/mine/entry.yaml: declare it\n")
    assert "error" not in ran.out
    found.append(error("C1", "entries/mine/runs/seed0.json", "run it again"))
    ran = clbench(capsys, *words)
    assert ran.code == 1
    assert "error: C1 entries/mine/runs/seed0.json: run it again\n" in ran.out
    assert "git commit" not in ran.out
