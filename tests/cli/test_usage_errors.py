"""Bad input of the commands other than run: one line, exit 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import clbench

Capture = pytest.CaptureFixture[str]

BAD = {
    "check nosuch.py": "no such file",
    "check strategy=naiv": "did you mean 'naive'",
    "check stratagy=naive": "group=name",
    "compare a b": "neither a run folder",
    "compare a b --board nosuch": "unknown board 'nosuch'",
    "verify nosuch": "holds neither",
    "submit nosuch --entry x": "holds no seed",
    "submit nosuch": "--entry",
    "tune strategy=ewc": "board= is required",
    "tune board=nosuch strategy=ewc": "unknown board 'nosuch'",
    "validate nosuch": "is no board",
    "leaderboard": "holds no board",
    "leaderboard nosuch": "unknown board 'nosuch'",
    "board new": "NAME",
    "board freeze nosuch": "draft.yaml",
    "board thaw x": "thaw",
    "show strategy=": "unknown strategy",
    "show scole": "did you mean scenario=scole?",
    "show strateg=ewc": "did you mean 'strategy'",
    "run --config .": "--config .",
    "run scenario=scole strategy=naive board=nosuch": "unknown board 'nosuch'",
    "run scenario=scole strategi=naive": "did you mean 'strategy'",
}


@pytest.mark.parametrize("line", BAD)
def test_one_line_and_nothing_written(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
):
    monkeypatch.chdir(tmp_path)
    code, out, err = clbench(capsys, *line.split())
    assert (code, out) == (2, "")
    assert BAD[line] in err
    assert err.startswith("clbench: error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_plugins_file_named_without_its_ending(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "other").write_text("")
    told = {
        "mine": "did you mean 'mine.py'?",
        "other": "is a file; the name of a plug-in's file",
        "mien.py": "no such file; did you mean 'mine.py'?",
    }
    for word, hint in told.items():
        code, out, err = clbench(capsys, "run", "scenario=scole", f"strategy={word}")
        assert (code, out) == (2, "")
        assert hint in err
