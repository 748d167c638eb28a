"""Output goes anywhere: closed pipes, full devices, terminals of 80 columns, ASCII and latin-1."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import clbench, tiny

from clbench.cli import COMMANDS, main

Capture = pytest.CaptureFixture[str]
BAD = "\x1b[31mred\x07\x9b2J\u202eevil"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two strategies whose records a stranger has spoilt."""
    from small import write_npz

    root = tmp_path_factory.mktemp("runs")
    npz = write_npz(root / "blobs.npz")
    words = ["strategy=naive,ewc", "seed=0..1", "tracker=none", "-q", "--out", str(root / "out")]
    assert main(["run", *tiny(npz), *words]) == 0
    return root / "out"


@pytest.fixture
def spoilt(runs: Path, tmp_path: Path) -> Path:
    for path in sorted(runs.rglob("record.json")):
        record = json.loads(path.read_text())
        del record["content_sha256"]
        record["config"]["strategy"]["name"] = f"=1+1{BAD}{record['config']['strategy']['name']}"
        record["warnings"] = [BAD]
        record["class_names"] = [f"{BAD}{n}" for n in range(record["stream"]["n_classes"])]
        if record["seed"] == 1:
            record["status"], record["error"] = "diverged", {"type": BAD, "message": BAD}
        copy = tmp_path / path.relative_to(runs)
        copy.parent.mkdir(parents=True)
        copy.write_text(json.dumps(record))
    return tmp_path


WORDS = [
    *([command.__name__.rpartition(".")[2], "--help"] for command in COMMANDS),
    *(["--help"], ["--version"], ["list"], ["list", "--json"], ["show", "strategy=ewc"]),
    *(["show"], ["results", "RUNS"], ["results", "RUNS", "--format", "csv"]),
    *(["results", "RUNS", "--classes"], ["compare", "A", "A"], ["board", "list"]),
    *(["validate", "--schema", "record"], ["completion", "bash"], ["data", "fonts"]),
    *(["cache", "list", "--json"], ["reproduce"], ["run", "--cfg", "DATA"]),
    *(["run", "--dry-run", "DATA", "seed=0..200"], ["check", "strategy=no_such", "--help"]),
]


PRETTY = [
    *(["results", "RUNS"], ["results", "RUNS", "--classes"], ["compare", "A", "A"]),
    *(["results", "RUNS", "--format", "latex"], ["board", "list"], ["reproduce"]),
    ["show", "strategy=ewc"],
]


def typed(words: list[str], runs: Path) -> list[str]:
    """The words with the folders in place of their capitals."""
    arm = next(iter(sorted(runs.glob("*/naive-*"))))
    data = [*tiny(runs.parent / "blobs.npz"), "strategy=naive"]
    places = {"RUNS": [str(runs)], "A": [str(arm)], "DATA": data}
    return [part for word in words for part in places.get(word, [word])]


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe whose reader is gone."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_closed_pipe_ends_every_command_quietly(
    words: list[str],
    at_once: bool,
    runs: Path,
    unread: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
):
    raw = os.fdopen(os.dup(unread), "wb", buffering=0 if at_once else -1)
    with io.TextIOWrapper(raw, encoding="utf-8", write_through=at_once) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        try:
            code = main(typed(words, runs))
        except SystemExit as error:
            code = int(error.code or 0)
        stream.flush()  # as the interpreter does at its end
    assert code == 0
    assert "Error" not in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full device")
@pytest.mark.parametrize("words", [["list"], ["results", "RUNS"], ["show"]], ids=" ".join)
def test_a_full_device_is_one_line(
    words: list[str], runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(typed(words, runs)) == 1
    err = capsys.readouterr().err
    assert err.startswith("clbench: error: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("words", PRETTY, ids=" ".join)
def test_terminals_without_unicode_get_something_plain(
    encoding: str, words: list[str], runs: Path, monkeypatch: pytest.MonkeyPatch
):
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(typed(words, runs)) == 0
        stream.flush()
        text = raw.getvalue().decode(encoding)
    assert text.strip()
    assert "\x1b" not in text
    assert "\\u" not in text  # a character that has no likeness


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_eighty_columns_hold_the_table(runs: Path, eighty: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["results", str(runs)]) == 0
    lines = sys.stdout.getvalue().splitlines()  # type: ignore[attr-defined]
    table = [line for line in lines if line[:1] in tuple("┏┃┡│└")]
    assert len(table) == 6  # three rules, the head and a row an arm: nothing is wrapped
    assert {len(line) for line in table} == {len(table[0])}
    assert len(table[0]) <= 80
    [start] = [at for at, line in enumerate(lines) if line.startswith("left out")]
    [end] = [at for at, line in enumerate(lines) if "--format md" in line]
    told = " ".join(lines[start : end + 1])
    assert "train s" in told
    for title in told.partition(": ")[2].partition(";")[0].split(", "):
        assert title not in table[1]
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main(["results", str(runs)]) == 0
    assert "train s" in sys.stdout.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "words",
    [
        ["results", "RUNS"],
        *(["results", "RUNS", "--format", kind] for kind in ("md", "csv", "latex", "json")),
        ["results", "RUNS", "--classes"],
        ["results", "RUNS", "--groups"],
        ["results", "RUNS", "--factors"],
        ["compare", "A", "A"],
    ],
    ids=" ".join,
)
def test_what_strangers_wrote_reaches_no_terminal_raw(
    words: list[str], spoilt: Path, eighty: None, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NO_COLOR", "1")
    arm = next(iter(sorted(spoilt.glob("*/naive-*"))))
    places = {"RUNS": str(spoilt), "A": str(arm)}
    code, out, err = clbench(capsys, *(places.get(word, word) for word in words))
    assert code in (0, 1)
    assert not any(c in out + err for c in ("\x1b", "\x07", "\x9b"))
    if "csv" in words:
        assert not any(line.startswith(("=", "+", "@")) for line in out.splitlines())
        assert "'=1+1" in out


def test_names_of_classes_and_files_reach_no_terminal_raw(
    tmp_path: Path, capsys: Capture, npz: Path
):
    import numpy as np

    x, y = np.zeros((40, 4), np.float32), np.arange(40) % 4
    names = np.array([f"{BAD}{n}" for n in range(4)])
    path = tmp_path / f"{BAD}.npz"
    np.savez(path, train_x=x, train_y=y, test_x=x, test_y=y, class_names=names)
    strategy = tmp_path / f"{BAD}.py"
    source = Path(__file__).parents[2] / "strategies" / "naive.py"
    strategy.write_bytes(source.read_bytes())
    words = [*tiny(path), f"strategy={strategy}", "--out", tmp_path / "out"]
    for more in (["--dry-run"], ["--cfg"], [], ["model.hidden=[x]"]):
        code, out, err = clbench(capsys, "run", *words, *more)
        assert code in (0, 2)
        assert not any(c in out + err for c in ("\x1b", "\x07", "\x9b", "\u202e"))
    for more in ([], ["--classes"]):
        _, out, err = clbench(capsys, "results", tmp_path / "out", *more)
        assert not any(c in out + err for c in ("\x1b", "\x07", "\x9b"))
