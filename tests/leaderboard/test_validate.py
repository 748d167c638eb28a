"""``clbench validate``: its findings, boards that were changed, and what it needs."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_rules import put
from tiny import edit, edit_yaml, write_board

from clbench.cli import main
from clbench.configure.board import Board, load_board
from clbench.leaderboard.entry import load_entry


def test_the_hash_of_settings_leaves_paths_out(tmp_path: Path, naive: Path) -> None:
    """Recomputed from the record alone, it is the one that the harness took of typed settings."""
    import numpy as np

    from clbench.configure.config import resolve_point
    from clbench.configure.sweep import sweep
    from clbench.engine.build import prepare
    from clbench.leaderboard.rules.sources import config_sha256

    x, y = np.zeros((20, 4), np.float32), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", train_x=x, train_y=y, test_x=x, test_y=y)
    words = ["scenario=scole", "strategy=naive", "data=npz", f"data.path={tmp_path / 'a.npz'}"]
    [point] = sweep([*words, "model=mlp", "device=cpu"])
    run = prepare(resolve_point(point))
    entry = load_entry(naive)
    record = dataclasses.replace(entry.records[0], config=run.config.as_dict())
    assert record.config["data"]["path"] == "a.npz"
    assert config_sha256(entry, record)["config_sha256"] == run.config_sha256
    elsewhere = {**record.config, "data": {**record.config["data"], "name": "of-another-package"}}
    unknown = dataclasses.replace(record, config=elsewhere)
    assert "config_sha256" not in config_sha256(entry, unknown)


def test_the_command_tells_every_finding(
    board: Board, naive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(board.folder.parent)
    assert main(["validate", "--boards", root]) == 0
    assert main(["validate", str(naive)]) == 0
    edit(naive / "runs" / "seed2.json", put("metrics.forgetting.value", 0.0))
    edit_yaml(naive / "entry.yaml", url="javascript:x")
    capsys.readouterr()
    for target in (naive, board.folder, board.folder.parent):
        assert main(["validate", str(target), "--against", root]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in lines] == [["error", "S3"], ["error", "M1"]]
        assert f"{naive.as_posix()}/runs/seed2.json: " in lines[1]
    assert main(["validate", str(naive), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(f["board"], f["rule"]) for f in told] == [("tiny", "S3"), ("tiny", "M1")]
    assert main(["validate", str(board.folder.parent / "none")]) == 2


def test_a_relative_entry_folder_is_found(
    board: Board,
    naive: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(naive)
    assert main(["validate", "."]) == 0
    monkeypatch.chdir(naive.parent)
    assert main(["validate", "naive"]) == 0
    assert main(["validate", "../entries/naive/"]) == 0
    edit_yaml(naive / "entry.yaml", url="javascript:x")
    monkeypatch.chdir(board.folder.parent)
    capsys.readouterr()
    assert main(["validate", "tiny/entries/naive"]) == 1
    assert capsys.readouterr().out.startswith("error   S3 tiny/entries/naive/entry.yaml: url ")


def test_a_changed_board_is_refused(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    path = board.folder / "board.yaml"
    path.write_text(path.read_text().replace("samples: 20000", "samples: 90000"))
    assert main(["validate", str(board.folder)]) == 2
    assert "was changed after it was frozen" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["settings", "model", "seeds", "budget", "primary", "naive"])
def test_a_malformed_board_is_refused(key: str, board: Board) -> None:
    import yaml

    from clbench.errors import UsageError

    path = board.folder / "board.yaml"
    data = yaml.safe_load(path.read_text())
    for wrong in (None, 5, [], [5], {"x": 1}, "x"):
        path.write_text(yaml.safe_dump({**data, key: wrong}))
        with pytest.raises(UsageError):
            load_board(board.folder)
    write_board(board)
    assert load_board(board.folder).primary == board.primary


def test_validation_needs_no_torch() -> None:
    imports = "import sys, clbench.leaderboard.rules.validate, clbench.cli"
    code = f"{imports}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
