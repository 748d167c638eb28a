"""``clbench run``: a table on stdout, talk on stderr, exit codes, and one line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from commands import clbench, tiny

from clbench.results.record import Record
from clbench.results.tables import columns

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("quick")

SIGNALLING = '''"""A strategy during which somebody presses Ctrl-C, or which fails."""
from __future__ import annotations
import signal
from dataclasses import dataclass
from clbench.strategy import GradientStrategy

class Signalling(GradientStrategy):
    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        how: str = "interrupt"
        """interrupt or error."""

    def begin(self, task):
        if self.config.how == "error":
            raise ValueError("no more")
        signal.raise_signal(signal.SIGINT)
        return task
'''


@pytest.fixture
def signalling(tmp_path: Path) -> Path:
    path = tmp_path / "signalling.py"
    path.write_text(SIGNALLING)
    return path


def test_the_table_goes_to_stdout_and_talk_to_stderr(capsys: Capture, npz: Path, tmp_path: Path):
    out = tmp_path / "runs"
    words = ["run", *tiny(npz), "strategy=naive,joint", "seed=0..1"]
    code, table, talk = clbench(capsys, *words, "--out", out)
    assert code == 0
    body = [line.split("│") for line in table.splitlines() if "│" in line]
    assert [[cell.strip() for cell in row[1:3]] for row in body] == [["naive", "2"], ["joint", "2"]]
    assert {"±", "["} & set(body[0][3]), "an interval of two seeds, cut where it has to be"
    assert len(list(out.rglob("record.json"))) == 4
    assert talk.count("completed, world accuracy") == 4
    assert str(out) not in table
    code, again, talk = clbench(capsys, *words, "--out", out)
    assert (code, again) == (0, table)
    assert talk.count("already done") == 4


def test_quiet_says_nothing_when_all_is_well(capsys: Capture, npz: Path, tmp_path: Path):
    code, out, err = clbench(capsys, "run", *tiny(npz), "strategy=naive", "-q", "--out", tmp_path)
    assert (code, err) == (0, "")
    assert "naive" in out


def test_json(capsys: Capture, npz: Path, tmp_path: Path):
    words = ["run", "--json", *tiny(npz), "strategy=naive", "seed=0..2", "--out", tmp_path]
    code, out, _ = clbench(capsys, *words)
    [row] = json.loads(out)
    assert code == 0
    assert (row["scenario"], row["strategy"], row["seeds"]) == ("scole", "naive", [0, 1, 2])
    records = [Record.load(path) for path in tmp_path.rglob("record.json")]
    mean = sum(r.metrics["world_accuracy"]["value"] for r in records) / 3
    assert row["values"]["world_accuracy"]["mean"] == pytest.approx(mean)
    assert set(row["values"]) == {column.key for column in columns()}


def test_options_may_stand_among_the_words(capsys: Capture, npz: Path, tmp_path: Path):
    first, *rest = tiny(npz)
    words = ["run", first, "--out", tmp_path / "runs", *rest, "-q", "strategy=naive"]
    assert clbench(capsys, *words).code == 0
    assert list((tmp_path / "runs").rglob("record.json"))


def test_cfg_prints_settings_that_config_takes_back(capsys: Capture, npz: Path, tmp_path: Path):
    words = [*tiny(npz), "strategy=naive,ewc", "ewc.lam=3", "--out", tmp_path / "runs"]
    code, out, err = clbench(capsys, "run", "--cfg", *words)
    assert (code, err) == (0, "")
    naive, ewc = yaml.safe_load_all(out)
    assert naive["strategy"]["name"] == "naive"
    assert (ewc["strategy"]["name"], ewc["strategy"]["lam"]) == ("ewc", 3.0)
    ewc["data"]["path"] = str(npz)
    (tmp_path / "ewc.yaml").write_text(yaml.safe_dump(ewc))
    again = clbench(capsys, "run", "--cfg", "--config", tmp_path / "ewc.yaml").out
    assert again == out.split("---\n")[1]
    assert not (tmp_path / "runs").exists()


def test_dry_run_lists_folders_and_trains_nothing(capsys: Capture, npz: Path, tmp_path: Path):
    words = ["run", *tiny(npz), "strategy=naive", "seed=0..1", "--out", tmp_path / "runs"]
    code, out, _ = clbench(capsys, *words, "--dry-run")
    assert code == 0
    assert not (tmp_path / "runs").exists()
    folders = [Path(line.split("  ")[0]) for line in out.splitlines()]
    assert [line.split("  ")[1:] for line in out.splitlines()] == [["3 tasks", "to run"]] * 2
    clbench(capsys, *words)
    assert all((folder / "record.json").is_file() for folder in folders)
    assert clbench(capsys, *words, "--dry-run").out.count("already done") == 2


def test_ctrl_c_ends_the_sweep_with_130(
    capsys: Capture, npz: Path, tmp_path: Path, signalling: Path
):
    words = ["run", *tiny(npz), f"strategy={signalling},naive", "--out", tmp_path / "runs"]
    code, _, err = clbench(capsys, *words)
    assert code == 130
    assert "--resume" in err
    assert "Traceback" not in err
    [record] = [Record.load(path) for path in (tmp_path / "runs").rglob("record.json")]
    assert record.status == "interrupted"


def test_a_failed_run_ends_with_1_and_the_sweep_goes_on(
    capsys: Capture, npz: Path, tmp_path: Path, signalling: Path
):
    words = [*tiny(npz), f"strategy={signalling},naive", "signalling.how=error"]
    code, out, err = clbench(capsys, "run", *words, "--out", tmp_path / "runs")
    assert code == 1
    assert "ValueError: no more (signalling.py line" in err
    assert "Traceback" not in err
    assert "seed 0: error" in out
    assert len(list((tmp_path / "runs").rglob("record.json"))) == 2


def test_a_diverged_run_ends_with_1_without_nan(capsys: Capture, npz: Path, tmp_path: Path):
    words = ["strategy=naive", "strategy.lr=1e30", "strategy.clip_norm=null", "--json"]
    code, out, err = clbench(capsys, "run", *tiny(npz), *words, "--out", tmp_path / "runs")
    assert code == 1
    assert "diverged" in err
    assert json.loads(out, parse_constant=pytest.fail)[0]["failed"] == ["seed 0: diverged"]


def test_debug_shows_the_traceback(capsys: Capture):
    from clbench.errors import UsageError

    with pytest.raises(UsageError):
        clbench(capsys, "run", "--debug", "strategy=naive")


BAD = {
    "no scenario": (["strategy=naive", "scenario="], "empty value"),
    "unknown strategy": (["strategy=naiv"], "did you mean 'naive'"),
    "unknown scenario": (["scenario=scol"], "did you mean 'scole'"),
    "unknown data": (["data=digit"], "did you mean 'digits'"),
    "unknown setting": (["strategy.lrr=1"], "did you mean 'lr'"),
    "unknown group": (["stratagy.lr=1"], "did you mean 'strategy'"),
    "of another strategy": (["strategy.lam=1"], "no setting 'lam'"),
    "no value": (["scenario.n_tasks"], "expected key=value"),
    "text for a number": (["strategy.lr=fast"], "strategy.lr=fast"),
    "fraction for a whole": (["scenario.n_tasks=2.5"], "scenario.n_tasks=2.5"),
    "list for a number": (["strategy.lr=[1,2]"], "strategy.lr=[1,2]"),
    "number for a list": (["model.hidden=8"], "model.hidden"),
    "nan": (["strategy.lr=nan"], "strategy.lr=nan"),
    "nan of a scenario": (["scenario.forgetting=nan"], "scenario.forgetting=nan"),
    "negative": (["strategy.lr=-1"], "lr"),
    "negative width": (["model.hidden=[-8]"], "hidden"),
    "negative count": (["scenario.n_tasks=-3"], "n_tasks"),
    "no tasks": (["scenario.n_tasks=0"], "n_tasks"),
    "negative seed": (["seed=-1"], "seed=-1"),
    "empty range": (["seed=4..1"], "range 4..1"),
    "batches of none": (["strategy.batch_size=0"], "batch_size"),
    "negative memory": (["strategy=er", "strategy.memory_size=-1"], "memory_size=-1"),
    "negative bytes": (["strategy=er", "strategy.memory_bytes=-1"], "memory_bytes=-1"),
    "less than a sample": (["strategy=er", "strategy.memory_bytes=9"], "one takes"),
    "negative rows": (["strategy=kanerva", "strategy.memory_size=-1"], "memory_size=-1"),
    "too many classes": (["scenario.classes_per_task=5"], "classes_per_task"),
    "unknown optimizer": (["strategy.optimizer=sgdd"], "sgdd"),
    "eval_every": (["eval_every=often"], "eval_every=often"),
    "device": (["device=tpu"], "device=tpu"),
    "jobs": (["--jobs=0"], "--jobs 0"),
    "jobs as text": (["--jobs=x"], "--jobs"),
    "unknown option": (["--fast"], "--fast"),
    "no such file": (["strategy=no/such.py"], "no such file"),
    "no such config": (["--config=no.yaml"], "no.yaml"),
    "no such data file": (["data.path=no/such.npz"], "such.npz"),
    "missing data set": (["data=cifar10", "data.path=no"], "cifar-10-batches-bin"),
    "nothing said of the file": (["data.path=null"], "data.path=FILE.npz"),
}


def with_words(npz: Path, words: list[str]) -> list[str]:
    """The tiny run with some of its words replaced."""
    given = {word.partition("=")[0] for word in words}
    base = [w for w in [*tiny(npz), "strategy=naive"] if w.partition("=")[0] not in given]
    return [*base, *words]


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_writes_nothing(
    capsys: Capture, npz: Path, tmp_path: Path, case: str
):
    words, told = BAD[case]
    code, out, err = clbench(capsys, "run", *with_words(npz, words), "--out", tmp_path / "runs")
    assert (code, out) == (2, ""), err
    assert told in err
    assert err.startswith("clbench: error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


DISJOINT = '''"""A strategy that cannot do with classes that come back."""
from clbench.strategy import GradientStrategy, Needs

class Disjoint(GradientStrategy):
    needs = Needs(disjoint_classes=True)
'''


def test_a_stream_that_brings_classes_back_is_refused_to_who_cannot_do_with_it(
    capsys: Capture, npz: Path, tmp_path: Path
):
    path = tmp_path / "disjoint.py"
    path.write_text(DISJOINT)
    words = [*tiny(npz), f"strategy={path}"]
    code, out, err = clbench(capsys, "run", *words, "--out", tmp_path / "runs")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "needs classes that come in one task only" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("data", [b"", b"hello\n", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_npz_is_named(capsys: Capture, npz: Path, tmp_path: Path, data: bytes):
    path = tmp_path / "false.npz"
    path.write_bytes(data)
    words = with_words(npz, [f"data.path={path}"])
    code, _, err = clbench(capsys, "run", *words, "--out", tmp_path / "runs")
    assert code == 2
    assert "false.npz" in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["false.npz"]


def test_out_that_is_a_file(capsys: Capture, npz: Path, tmp_path: Path):
    path = tmp_path / "runs"
    path.write_text("mine")
    words = with_words(npz, [])
    code, _, err = clbench(capsys, "run", *words, "--out", path)
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written" in err
    assert path.read_text() == "mine"


def test_the_first_line_says_which_network_nobody_named(capsys: Capture, npz: Path, tmp_path: Path):
    """Once for a sweep, before anything is run; not where a model is named, nor with -q."""
    named = [word for word in tiny(npz) if word.startswith("model")]
    words = [word for word in tiny(npz) if word not in named]
    run = ("run", *words, "strategy=naive", "seed=0..1", "--out", tmp_path)
    planned = clbench(capsys, *run, "--dry-run").err
    lines = clbench(capsys, *run).err.splitlines()
    assert planned.splitlines() == lines[:1]
    said = "network mlp, the default of data=npz (model=NAME takes another)"
    assert lines[0] == f"clbench: {said}"
    assert sum(said in line for line in lines) == 1
    assert clbench(capsys, *run, "-q").err == ""
    assert said not in clbench(capsys, *run, *named).err
