"""``tracker=`` words on the command line and in ``clbench.run``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from commands import clbench as command
from commands import tiny
from hypothesis import given
from hypothesis import strategies as st
from small import write_npz

import clbench
from clbench.configure.sweep import read_file, sweep
from clbench.configure.trackers import DEFAULT, asked, take_trackers
from clbench.errors import UsageError
from clbench.results.record import Record
from clbench.tracker import Progress

Capture = pytest.CaptureFixture[str]
MINE = '''"""Counts reports in a file."""
from dataclasses import dataclass
from clbench.tracker import Tracker


class Mine(Tracker):
    @dataclass(frozen=True)
    class Config(Tracker.Config):
        name: str = "mine.txt"
        """The file."""

    def start(self, run):
        self.path = run.folder / self.config.name

    def progress(self, progress):
        self.path.write_text(str(progress.experiences))
'''


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def names(*words: str) -> list[str]:
    return [chosen.plugin.name for chosen in take_trackers(words)[1]]


def test_what_is_chosen():
    assert names("seed=0") == [DEFAULT] == ["tensorboard"]
    assert names("tracker=none") == []
    assert names("tracker=csv,tensorboard", "seed=0") == ["csv", "tensorboard"]


@given(st.lists(st.sampled_from(["seed=0,1", "strategy=naive,ewc", "ewc.lam=1,2", "a.b=c"])))
def test_other_words_stay_as_they_are_and_never_multiply(words: list[str]):
    words = list(dict.fromkeys(words))
    rest, trackers = take_trackers([*words[:1], "tracker=csv,tensorboard", *words[1:]])
    assert rest == words
    assert len(trackers) == 2
    assert len(sweep(rest)) == len(sweep(words))


def test_settings_of_one_tracker_and_of_all_that_have_it(mine: Path):
    words = [f"tracker={mine},wandb", "tracker.project=p", "mine.name=x", "wandb.mode=offline"]
    rest, (first, second) = take_trackers(words)
    assert rest == []
    assert first.given == (("name", "x"),)
    assert second.given == (("project", "p"), ("mode", "offline"))


def test_one_name_for_a_strategy_and_a_tracker_is_the_strategys(mine: Path):
    words = [f"tracker={mine}", "strategy=other/mine.py", "mine.name=x", "tracker.name=y"]
    rest, (chosen,) = take_trackers(words)
    assert rest == words[1:3]
    assert chosen.given == (("name", "y"),)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tracker=tensorbord"], "unknown tracker 'tensorbord'; did you mean 'tensorboard'?"),
        (["tracker=csv", "tracker=none"], "tracker is given twice"),
        (["tracker=csv,csv"], "csv is given twice"),
        (["tracker=csv,none"], "write tracker=NAME,NAME or tracker=none alone"),
        (["tracker="], "write tracker=NAME,NAME"),
        (["tracker=nowhere.py"], "no such file"),
        (["tracker=csv", "tracker.project=x"], "no tracker of this run (csv) has this setting"),
    ],
)
def test_wrong_words(words: list[str], told: str):
    with pytest.raises(UsageError) as caught:
        take_trackers(words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_setting_is_told_before_anything_is_run(
    npz: Path, tmp_path: Path, mine: Path, capsys: Capture
):
    out = tmp_path / "runs"
    words = [*tiny(npz), "strategy=naive", f"--out={out}", f"tracker={mine}", "mine.nam=x"]
    ran = command(capsys, "run", *words)
    assert ran.code == 2
    assert "tracker 'mine' has no setting 'nam'; did you mean 'name'?" in ran.err
    assert not out.exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line_with_the_command(
    npz: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, name: str
):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda n, *a: None if n == name else find_spec(n, *a)
    )
    out = tmp_path / "runs"
    words = [*tiny(npz), "strategy=naive", f"--out={out}", f"tracker={name}"]
    ran = command(capsys, "run", *words)
    assert ran.code == 2
    [line] = ran.err.splitlines()
    assert line.endswith(f"which is not installed: pip install 'clbench[{name}]'")
    assert not out.exists()


def test_from_the_command_line(npz: Path, tmp_path: Path, mine: Path, capsys: Capture):
    """A sweep has its trackers in every run; neither the folder nor the record knows of them."""
    words = [*tiny(npz), "strategy=naive", "seed=0,1", "-q"]
    with_them = f"tracker=csv,{mine}"
    assert command(capsys, "run", *words, f"--out={tmp_path / 'a'}", with_them).code == 0
    assert command(capsys, "run", *words, f"--out={tmp_path / 'b'}", "tracker=none").code == 0
    folders = [
        sorted(p.parent.relative_to(tmp_path / out) for p in (tmp_path / out).rglob("record.json"))
        for out in ("a", "b")
    ]
    assert folders[0] == folders[1]
    assert len(folders[0]) == 2
    for folder in folders[0]:
        a, b = (Record.load(tmp_path / out / folder / "record.json") for out in ("a", "b"))
        assert (a.config, a.overrides, a.config_sha256) == (b.config, b.overrides, b.config_sha256)
        assert a.predictions_sha256 == b.predictions_sha256
        there = {p.name for p in (tmp_path / "a" / folder).iterdir()}
        plain = {p.name for p in (tmp_path / "b" / folder).iterdir()}
        assert there - plain == {"metrics.csv", "mine.txt"}
        assert (tmp_path / "a" / folder / "mine.txt").read_text() == "3"


def test_trackers_are_listed_and_shown(capsys: Capture):
    listed = command(capsys, "list", "trackers").out
    for name in ("tensorboard", "csv", "wandb", "mlflow", "progress"):
        assert f"\n  {name} " in listed
    assert "tracker.project=clbench" in command(capsys, "show", "tracker=wandb").out


@pytest.mark.slow
def test_worker_processes_have_the_trackers_too(npz: Path, tmp_path: Path, mine: Path):
    words = [*tiny(npz), "strategy=naive"]
    clbench.run(*words, out=tmp_path, jobs=2, seed=[0, 1], tracker=[str(mine), "csv"], quiet=True)
    assert len(list(tmp_path.rglob("mine.txt"))) == len(list(tmp_path.rglob("metrics.csv"))) == 2


@pytest.mark.parametrize(
    ("tracker", "files"),
    [
        ("csv", {"metrics.csv"}),
        (["csv", "tensorboard"], {"metrics.csv", "tensorboard"}),
        (None, set()),
        ([], set()),
    ],
)
def test_from_python(npz: Path, tmp_path: Path, tracker: Any, files: set[str]):
    clbench.run(*tiny(npz), strategy="naive", out=tmp_path, tracker=tracker, quiet=True)
    [record] = tmp_path.rglob("record.json")
    found = {p.name for p in record.parent.iterdir()}
    assert found & {"metrics.csv", "tensorboard"} == files


def test_report_is_called_with_progress(npz: Path, tmp_path: Path):
    seen: list[Progress] = []
    record = clbench.run(
        *tiny(npz), strategy="naive", out=tmp_path, tracker=None, report=seen.append, quiet=True
    )
    assert isinstance(record, Record)
    assert [p.experiences for p in seen] == [0, 1, 2, 3]
    assert seen[-1].evaluation.world_accuracy == record.metric("world_accuracy")


def test_report_needs_this_process(npz: Path, tmp_path: Path):
    words = [*tiny(npz), "strategy=naive", "seed=0,1"]
    with pytest.raises(UsageError, match="jobs=1"):
        clbench.run(*words, out=tmp_path / "runs", jobs=2, report=print, quiet=True)
    assert not (tmp_path / "runs").exists()


CSV_AND_MINE = "tracker: [csv, {mine}]\nmine.name: a,b.txt\nstrategy: naive\n"


def test_a_file_chooses_trackers_and_words_choose_others(mine: Path, tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text(CSV_AND_MINE.format(mine=mine))
    settings = read_file(file)
    found = asked(["seed=1"], settings)
    assert [chosen.plugin.name for chosen in found.trackers] == ["csv", "mine"]
    assert found.trackers[1].given == (("name", "a,b.txt"),)
    assert (found.words, found.settings) == (["seed=1"], {"strategy": "naive"})
    assert asked(found.tracker_words).trackers == found.trackers  # as a plan keeps them
    for word, chosen in (("tracker=none", []), ("tracker=csv", ["csv"])):
        other = asked([word], settings)
        assert [c.plugin.name for c in other.trackers] == chosen
        assert (other.words, other.settings) == ([], {"strategy": "naive"})
    one = asked(["mine.name=c"], settings)
    assert one.trackers[1].given == (("name", "c"),)


@pytest.mark.parametrize("text", ["tracker: none", "tracker:", "tracker: []"])
def test_a_file_may_choose_none(text: str, tmp_path: Path):
    (tmp_path / "c.yaml").write_text(text)
    assert asked([], read_file(tmp_path / "c.yaml")).trackers == ()


def test_settings_of_runs_in_a_file_are_not_taken_for_a_trackers(mine: Path):
    file = {"strategy": "other/mine.py", "mine.name": "x", "tracker": str(mine), "ewc.lam": 3}
    found = asked([], file)
    assert found.settings == {"strategy": "other/mine.py", "mine.name": "x", "ewc.lam": 3}
    assert found.trackers[0].given == ()


def test_the_trackers_of_a_file_follow_a_run(npz: Path, tmp_path: Path, capsys: Capture):
    file = tmp_path / "c.yaml"
    file.write_text("tracker: csv\nstrategy: naive\n")
    out = tmp_path / "runs"
    assert command(capsys, "run", *tiny(npz), "--config", file, "--out", out, "-q").code == 0
    assert len([*out.rglob("*.csv")]) == 1
    clbench.run(*tiny(npz), config=file, out=tmp_path / "again", quiet=True)
    assert len([*(tmp_path / "again").rglob("*.csv")]) == 1
    assert clbench.prepare(*tiny(npz), config=file).config.plugins["strategy"].name == "naive"
