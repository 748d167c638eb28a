"""``clbench results``: any folder of runs as a table in five formats, and as curves."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from commands import clbench
from small import go, record_of, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for strategy, seed in (("naive", 0), ("naive", 1), ("joint", 0)):
        words = ("scenario=scole", "scenario.n_tasks=3", f"strategy={strategy}", f"seed={seed}")
        one = run(*words)
        path = folder / strategy / f"seed{seed}"
        path.mkdir(parents=True)
        record_of(one, *go(one)).save(path / "record.json")
    return folder


@pytest.fixture
def damaged(runs: Path, tmp_path: Path) -> Path:
    for path in runs.rglob("record.json"):
        copy = tmp_path / path.relative_to(runs)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path


def test_table(capsys: Capture, runs: Path):
    code, out, err = clbench(capsys, "results", runs)
    assert (code, err) == (0, "")
    body = [line.split("│") for line in out.splitlines() if "│" in line]
    assert [[c.strip() for c in row[1:3]] for row in body] == [["joint", "1"], ["naive", "2"]]


def test_markdown(capsys: Capture, runs: Path):
    code, out, _ = clbench(capsys, "results", runs, "--format", "md")
    table, definitions = out.split("\n\n")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert code == 0
    assert "- **ACC %**: mean over tasks of the accuracy on each at the end." in definitions
    assert "- **FM %**: " in definitions
    assert "AAA" not in definitions, "of columns that are shown"
    assert lines[0][:3] == ["strategy", "n", "world acc %"]
    assert [line[:2] for line in lines[2:]] == [["joint", "1"], ["naive", "2"]]
    assert len({len(line) for line in lines}) == 1


def test_latex(capsys: Capture, runs: Path):
    code, out, _ = clbench(capsys, "results", runs, "--format", "latex")
    assert out.startswith("\\begin{table}\n")
    lines = out[out.index(r"\begin{tabular}") :].splitlines()
    assert code == 0
    assert lines[0].startswith(r"\begin{tabular}{ll")
    rows = [line for line in lines if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {len(lines[0].split("{")[-1]) - 2}
    assert r"world acc \%" in rows[0]


def test_csv_and_json_tell_the_same(capsys: Capture, runs: Path):
    [joint, naive] = csv.DictReader(
        io.StringIO(clbench(capsys, "results", runs, "--format", "csv").out)
    )
    data = json.loads(clbench(capsys, "results", runs, "--format", "json").out)
    assert [row["strategy"] for row in data] == [joint["strategy"], naive["strategy"]]
    assert naive["seeds"] == "0 1"
    for row, shown in zip(data, (joint, naive), strict=True):
        for key, value in row["values"].items():
            for suffix, part in (("", "mean"), ("_half_width", "half_width"), ("_n", "n")):
                text = shown[key + suffix]
                assert (float(text) if text else None) == value[part]


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_plot(capsys: Capture, runs: Path, tmp_path: Path, ending: str, start: bytes):
    file = tmp_path / f"curves.{ending}"
    code, out, err = clbench(capsys, "results", runs, "--plot", file)
    assert code == 0
    assert re.fullmatch(rf"{re.escape(str(file))}: curves of \d+ completed runs\n", err)
    assert "naive" in out
    assert file.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["curves.doc", "curves", "no/such/folder.png"])
def test_a_plot_that_cannot_be_written_is_a_usage_error(
    capsys: Capture, runs: Path, tmp_path: Path, name: str
):
    code, out, err = clbench(capsys, "results", runs, "--plot", tmp_path / name)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert name in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text[:100], id="cut"),
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: text.replace('"device":"cpu"', '"x":1'), id="no device"),
        pytest.param(lambda text: text.replace('"name":"scole"', '"x":1'), id="no scenario"),
        pytest.param(lambda text: text.replace('"world_accuracy":', '"x":'), id="no metric"),
        pytest.param(lambda text: text.replace('"updates":', '"x":'), id="no cost"),
    ],
)
def test_a_damaged_record_is_named_and_left_out(capsys: Capture, damaged: Path, change):
    path = damaged / "naive" / "seed1" / "record.json"
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    code, out, err = clbench(capsys, "results", damaged, "--format", "csv")
    assert code == 1
    assert [row["seeds"] for row in csv.DictReader(io.StringIO(out))] == ["0", "0"]
    assert err.startswith("clbench: warning: ")
    assert str(path) in err
    assert err.count("\n") == 1


def test_folders_without_runs_are_refused(capsys: Capture, tmp_path: Path):
    for folder, told in ((tmp_path, "holds no record.json"), (tmp_path / "no", "no such folder")):
        code, out, err = clbench(capsys, "results", folder)
        assert (code, out) == (2, "")
        assert told in err
    assert clbench(capsys, "results", tmp_path, "--format", "docx").code == 2
