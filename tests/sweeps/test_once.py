"""A sweep that names one run in two ways runs it once, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import clbench, tiny
from small import write_npz

import clbench as face
from clbench.sweeps import plan

Capture = pytest.CaptureFixture[str]
STRATEGY = "from clbench import GradientStrategy\nclass Mine(GradientStrategy):\n    pass\n"


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("clbench.results.plots.save_curve", lambda records, path: None)
    npz = write_npz(tmp_path / "blobs.npz")
    return [*tiny(npz), "tracker=none"]


@pytest.mark.parametrize(
    ("given", "n", "told"),
    [
        (["strategy=naive,naive"], 1, "strategy=naive is given twice in strategy=naive,naive"),
        (["strategy=naive", "seed=1,1..2"], 2, "seed=1 is given twice in seed=1,1..2"),
        (["strategy=naive", "strategy.lr=0.1,0.10"], 1, "strategy.lr=0.1 and strategy.lr=0.10"),
        (["strategy=naive", "strategy.lr=null,0.1"], 2, ""),
        (["strategy=naive", "strategy.lr=1e-1,0.1", "seed=0..2"], 3, "so do 2 more"),
        (["strategy=naive", "device=cpu"], 1, ""),
        (["strategy=naive,ewc", "ewc.lam=1,3"], 3, ""),
    ],
)
def test_one_run_in_two_spellings(
    capsys: Capture, tmp_path: Path, words: list[str], given: list[str], n: int, told: str
):
    words = [w for w in words if w.partition("=")[0] not in {g.partition("=")[0] for g in given}]
    code, out, err = clbench(
        capsys, "run", *words, *given, "--dry-run", "--json", "--out", tmp_path
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, len(rows), len({row["folder"] for row in rows})) == (0, n, n)
    assert told in err
    assert err.count("\n") == bool(told)


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_it_is_run_once_and_averaged_once(
    capsys: Capture, tmp_path: Path, words: list[str], jobs: str
):
    given = ["strategy=naive", "strategy.lr=0.1,0.10", "seed=0,1", "--json", "-q"]
    code, out, err = clbench(
        capsys, "run", *words, *given, "--jobs", jobs, "--out", tmp_path / "runs"
    )
    [row] = json.loads(out)
    assert (code, row["seeds"], row["values"]["world_accuracy"]["n"]) == (0, [0, 1], 2)
    assert len([*(tmp_path / "runs").rglob("record.json")]) == 2
    assert "run once" in err


def test_of_two_lengths_the_longer_is_run(capsys: Capture, tmp_path: Path, words: list[str]):
    for n, lengths in enumerate(("1,2", "2,1", "1,2,1")):
        out = tmp_path / f"runs{n}"
        given = ["strategy=naive", f"max_tasks={lengths}", "-q", "--json"]
        assert clbench(capsys, "run", *words, *given, "--out", out).code == 0
        [path] = out.rglob("record.json")
        assert len(json.loads(path.read_text())["tasks"]["end"]) == 2


def test_a_users_file_twice_and_python(tmp_path: Path, words: list[str], capsys: Capture):
    for name in ("mine.py", "copy/mine.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(STRATEGY)
    found = face.run(
        *words,
        f"strategy={tmp_path / 'mine.py'},{tmp_path / 'copy/mine.py'}",
        out=tmp_path / "runs",
        quiet=True,
        tracker=None,
    )
    assert isinstance(found, list)
    assert len(found) == 1
    assert "name one run" in capsys.readouterr().err


def test_two_lines_of_a_plan(capsys: Capture, tmp_path: Path, words: list[str]):
    """A default that is spelt out is no other run."""
    file = tmp_path / "plan.jsonl"
    words = [w for w in words if w != "tracker=none"]
    many = (*words, "strategy=naive"), (*words, "strategy=naive", "strategy.momentum=0.0")
    plan.write(file, [plan.Line(tuple(some), "x") for some in many])
    code, out, err = clbench(capsys, "run", "--plan", file, "--dry-run")
    assert (code, len(out.splitlines())) == (0, 1)
    assert "nothing else and strategy.momentum=0.0 name one run" in err
