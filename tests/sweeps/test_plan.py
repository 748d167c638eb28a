"""Plans: a sweep as a file of lines, each of which runs what it says."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
from commands import clbench, tiny
from omegaconf import OmegaConf
from small import write_npz

import clbench.sweeps.planner as planner_module
from clbench.configure import typed
from clbench.configure.config import Known, resolve_point
from clbench.configure.sweep import sweep
from clbench.configure.words import Quoted
from clbench.engine import build
from clbench.errors import UsageError
from clbench.plugins import registry, source
from clbench.strategy import GradientStrategy
from clbench.stream import Stream
from clbench.sweeps import plan
from clbench.sweeps.planner import Planner

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    npz = write_npz(tmp_path / "blobs.npz")
    return [*tiny(npz), "strategy=naive,ewc", "seed=0..2", "strategy.lr=0.1,0.01"]


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clbench.results.plots.save_curve", lambda records, path: None)


def test_a_plan_has_a_line_for_each_run_and_its_lines_run_alone(
    capsys: Capture, tmp_path: Path, words: list[str], no_pictures: None
):
    file, out = tmp_path / "plan.jsonl", tmp_path / "runs"
    code, _, err = clbench(capsys, "run", *words, "--plan", file, "--out", out)
    assert (code, f"--plan {file} --out {out}" in err) == (0, True)
    assert not out.exists()
    lines = plan.read(file)
    assert len({line.folder for line in lines}) == 12
    code, _, err = clbench(capsys, "run", "--plan", file, "--index", "7", "--out", out)
    assert (code, err.count("completed")) == (0, 1)
    [record] = out.rglob("record.json")
    assert record.parent == out / lines[7].folder
    settings = json.loads(record.read_text())["config"]
    given = dict(word.split("=", 1) for word in lines[7].words)
    assert settings["strategy"]["name"] == given["strategy"]
    assert settings["seed"] == int(given["seed"])
    assert settings["model"]["hidden"] == [8]
    assert clbench(capsys, "run", "--plan", file, "--out", out, "-q").code == 0
    assert len([*out.rglob("record.json")]) == 12


def test_a_dry_run_as_json_has_the_lines_of_the_plan(
    capsys: Capture, tmp_path: Path, words: list[str]
):
    file = tmp_path / "plan.jsonl"
    clbench(capsys, "run", *words, "--plan", file)
    shown = clbench(capsys, "run", *words, "--dry-run", "--json").out.splitlines()
    rows = [json.loads(line) for line in shown]
    assert {row.pop("state") for row in rows} == {"to run"}
    assert rows == [json.loads(line) for line in file.read_text().splitlines()]


def test_a_run_that_is_another_one_by_now_is_named(
    capsys: Capture, tmp_path: Path, words: list[str], no_pictures: None
):
    file = tmp_path / "plan.jsonl"
    clbench(capsys, "run", *words, "--plan", file)
    first, *rest = file.read_text().splitlines()
    changed = {**json.loads(first), "folder": "scole/naive-00000000/seed0"}
    file.write_text("\n".join([json.dumps(changed), *rest]))
    err = clbench(capsys, "run", "--plan", file, "--index", "0", "--out", tmp_path / "r").err
    assert "was planned as scole/naive-00000000/seed0" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{", ":1: is not JSON"),
        ("[1]", ":1: is not a line of a plan"),
        ('{"words": ["a=b"], "folder": "x", "more": 1}', ":1: is not a line"),
        ('{"words": "a=b", "folder": "x"}', ":1: words must be a list"),
        ('{"words": ["a=b"], "folder": 3}', ":1: folder must be"),
        ('{"words": ["seed=0,1"], "folder": "x"}', ":1: asks for 2 runs"),
    ],
)
def test_what_is_no_plan_is_refused_by_line(tmp_path: Path, text: str, said: str):
    file = tmp_path / "plan.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        plan.points(plan.read(file))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "more", [("--index", "0"), ("--plan", "missing.jsonl"), ("--index", "0", "seed=1")]
)
def test_wrong_options_are_one_line(capsys: Capture, more: tuple[str, ...]):
    code, _, err = clbench(capsys, "run", *more)
    assert (code, err.count("\n")) == (2, 1)


def test_each_piece_of_work_is_done_once_for_all_that_share_it(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
):
    """200 points of two settings: two constructions on trial, and sources are hashed once."""
    counts = {"built": 0, "hashed": 0, "streams": 0}

    def counted(name: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            counts[name] += 1
            return function(*args)

        return call

    stream = build.check_classes
    monkeypatch.setattr(build, "check_classes", counted("streams", stream))
    monkeypatch.setattr(build, "source_sha256", counted("hashed", source.source_sha256))
    monkeypatch.setattr(GradientStrategy, "__init__", counted("built", GradientStrategy.__init__))
    planner = Planner()
    base = [w for w in words if not w.startswith(("strategy", "seed"))]
    for point in sweep([*base, "strategy=naive", "strategy.lr=0.1,0.01", "seed=0..99"]):
        planner.run(point)
    # A stream for each seed. Hashed: the strategy, the model, the scenario, and all three together.
    assert counts == {"built": 2, "hashed": 4, "streams": 100}


def test_entry_points_and_schemas_are_read_once(monkeypatch: pytest.MonkeyPatch, words: list[str]):
    """200 points of two settings: entry points once, a schema once a settings class."""
    read: list[int] = []
    found = importlib.metadata.entry_points
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda: read.append(1) or found())
    made: list[type] = []
    schema = OmegaConf.structured
    monkeypatch.setattr(OmegaConf, "structured", lambda cls: made.append(cls) or schema(cls))
    typed._schema.cache_clear()
    planner = Planner()
    base = [w for w in words if not w.startswith(("strategy", "seed"))]
    for point in sweep([*base, "strategy=naive", "strategy.lr=0.1,0.01", "seed=0..99"]):
        planner.run(point)
    assert len(made) == len(set(made))
    assert len(read) <= 2  # once for each sys.path


def test_the_runs_of_a_plan_are_prepared_once(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    tmp_path: Path,
    words: list[str],
    no_pictures: None,
):
    file = tmp_path / "plan.jsonl"
    clbench(capsys, "run", *words, "--plan", file)
    prepared: list[object] = []
    real = planner_module.prepare
    monkeypatch.setattr(
        planner_module, "prepare", lambda *given: prepared.append(given) or real(*given)
    )
    assert clbench(capsys, "run", "--plan", file, "--out", tmp_path / "r", "-q").code == 0
    assert len(prepared) == 4  # two strategies at two rates; three seeds of each


def test_a_sweep_over_data_keeps_one_pool(tmp_path: Path, words: list[str]):
    files = [write_npz(tmp_path / f"{n}.npz", n_train=10 + n) for n in range(3)]
    base = [w for w in words if not w.startswith(("strategy", "seed", "data.path"))]
    paths = "data.path=" + ",".join(map(str, files))
    planner, pools = Planner(), []
    for point in sweep([*base, paths, "strategy=naive"]):
        pools.append(weakref.ref(planner.run(point).stream.pool))
    gc.collect()
    assert [pool() is not None for pool in pools] == [False, False, True]


def test_an_edited_strategy_is_named_in_a_dry_run_too(
    capsys: Capture, tmp_path: Path, words: list[str]
):
    file, mine = tmp_path / "plan.jsonl", tmp_path / "mine.py"
    mine.write_text(
        "from clbench import GradientStrategy\nclass Mine(GradientStrategy):\n    X = 1\n"
    )
    rest = [w for w in words if not w.startswith("strategy=")]
    clbench(capsys, "run", *rest, f"strategy={mine}", "--plan", file)
    mine.write_text(mine.read_text().replace("X = 1", "X = 2"))
    err = clbench(capsys, "run", "--plan", file, "--dry-run").err
    assert err.count("was planned as") == 6


@pytest.mark.parametrize(
    ("word", "said"),
    [("frobnicate=1", "unknown setting"), ("seed=x", "seed=x"), ("seed=0,1", "asks for 2 runs")],
)
def test_wrong_words_are_refused_by_line(
    capsys: Capture, tmp_path: Path, words: list[str], word: str, said: str
):
    file = tmp_path / "plan.jsonl"
    good = [*(w for w in words if "," not in w and not w.startswith("seed")), "strategy=naive"]
    lines = [plan.Line(tuple(good), "x"), plan.Line((*good, word), "x")]
    plan.write(file, lines)
    for more in ((), ("--index", "1")):
        code, _, err = clbench(capsys, "run", "--plan", file, "--dry-run", *more)
        assert code == 2
        assert f"--plan {file}:2: " in err
        assert said in err


def test_a_value_with_a_comma_is_planned_in_quotes(
    capsys: Capture, tmp_path: Path, words: list[str]
):
    """Read again, a plan asks for the same runs, whatever is in a value."""
    file, settings = tmp_path / "plan.jsonl", tmp_path / "c.yaml"
    Path(shutil.copy(tmp_path / "blobs.npz", tmp_path / "a,b.npz"))
    settings.write_text(f"data.path: '{tmp_path}/a,b.npz'\n")
    rest = [w for w in words if not w.startswith("data.path")]
    assert clbench(capsys, "run", *rest, "--config", settings, "--plan", file).code == 0
    typed = sweep([*rest, f"data.path='{tmp_path}/a,b.npz'"])
    planned = plan.points(plan.read(file))
    assert [point["data.path"] for point in planned] == [f"{tmp_path}/a,b.npz"] * len(typed)
    for point, other in zip(planned, typed, strict=True):
        assert {**point, "overrides": ()} == {**other, "overrides": ()}


def test_a_planned_run_is_the_one_that_is_prepared_alone(words: list[str]):
    planner = Planner()
    for point in sweep(words):
        planned, alone = planner.run(point), Planner().run(point)
        assert planned.run_sha256 == alone.run_sha256
        assert planned.config_sha256 == alone.config_sha256
        assert planned.config.as_dict() == alone.config.as_dict()
        assert planned.config.overrides == alone.config.overrides
        a, b = planned.stream.draw(1), alone.stream.draw(1)
        assert (a.keys == b.keys).all()


def test_a_thousand_settings_share_all_but_what_they_set(
    monkeypatch: pytest.MonkeyPatch, words: list[str], tmp_path: Path, capsys: Capture
):
    """Of 1,000 rates each is typed once and tried once; everything else is done once for all."""
    counts: dict[str, int] = {}

    def count(target: Any, name: str) -> None:
        real = getattr(target, name)

        def call(*args: Any, **named: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            return real(*args, **named)

        monkeypatch.setattr(target, name, call)

    count(typed, "_typed")
    count(build, "build_stream")
    count(build, "check_plan")
    count(Stream, "experience")
    count(GradientStrategy, "__init__")
    count(registry, "plugins")
    count(OmegaConf, "structured")
    base = [w for w in words if not w.startswith(("strategy", "seed"))]
    typed._schema.cache_clear()
    typed._default.cache_clear()
    n = 1000
    rates = ",".join(str(k / n) for k in range(1, n + 1))
    file = tmp_path / "plan.jsonl"
    sweep_words = [*base, "strategy=ewc", f"ewc.lam={rates}"]
    assert clbench(capsys, "run", *sweep_words, "--plan", file).code == 0
    assert len(plan.read(file)) == n
    assert counts["__init__"] == n  # a construction on trial for each
    assert n <= counts["_typed"] <= n + len(base)
    assert counts["build_stream"] == counts["check_plan"] == counts["experience"] == 1
    assert counts["plugins"] <= 2 * len(registry.GROUPS)
    assert counts["structured"] < 100  # once for each setting there is


def test_settings_that_look_alike_are_not_taken_for_one_another():
    known = Known()
    base = {"scenario": "scole", "strategy": "naive"}
    for value, path in (("1", "1"), (Quoted("null"), "null"), (Quoted("[1]"), "[1]")):
        point = {**base, "data": "npz", "data.path": value, "model": "mlp"}
        assert str(resolve_point(point, known).data.path) == path
    for value, size in ((1, 1), ("2", 2), (Quoted("1"), 1)):
        assert resolve_point({**base, "threads": value}, known).common.threads == size
    with pytest.raises(UsageError, match="threads=True"):
        resolve_point({**base, "threads": True}, known)
    with pytest.raises(UsageError, match=r"strategy\.lr=nan"):
        resolve_point({**base, "strategy.lr": "nan"}, known)
    with pytest.raises(UsageError, match=r"strategy\.lr=nan"):
        resolve_point({**base, "strategy.lr": "nan"}, known)


def test_a_plan_keeps_its_trackers(
    capsys: Capture, tmp_path: Path, words: list[str], no_pictures: None
):
    """They run as planned, unless other trackers are asked for beside the plan."""
    file = tmp_path / "plan.jsonl"
    one = [w for w in words if not w.startswith(("strategy", "seed"))]
    clbench(capsys, "run", *one, "strategy=naive,ewc", "tracker=csv", "--plan", file)
    assert [line.words[-1] for line in plan.read(file)] == ["tracker=csv"] * 2
    shown = clbench(capsys, "run", "--plan", file, "--dry-run", "--json").out.splitlines()
    assert [json.loads(line)["words"][-1] for line in shown] == ["tracker=csv"] * 2
    for more, there in (((), {"csv"}), (("tracker=none",), set())):
        out = tmp_path / f"runs{len(more)}"
        assert clbench(capsys, "run", "--plan", file, *more, "--out", out, "-q").code == 0
        records = [*out.rglob("record.json")]
        assert len(records) == 2
        assert {path.suffix[1:] for path in out.rglob("*.csv")} == there
        assert all("tracker" not in path.read_text() for path in records)


def test_lines_with_different_trackers_run_apart(capsys: Capture, tmp_path: Path, words: list[str]):
    file = tmp_path / "plan.jsonl"
    good = [*(w for w in words if "," not in w and not w.startswith("seed")), "strategy=naive"]
    plan.write(file, [plan.Line((*good, "tracker=csv"), "x"), plan.Line(tuple(good), "x")])
    code, _, err = clbench(capsys, "run", "--plan", file, "--dry-run")
    assert (code, f"--plan {file}:2: has other tracker= words" in err) == (2, True)
    assert clbench(capsys, "run", "--plan", file, "--index", "1", "--dry-run").code == 0


def test_streams_are_forgotten_when_there_are_many(monkeypatch: pytest.MonkeyPatch):
    """A stream that is made again is the same; what is remembered stays small."""
    monkeypatch.setattr(build.Streams, "most", 3)
    words = ["scenario=scole", "strategy=naive", "strategy.lr=0.1,0.2", "seed=0..4", "device=cpu"]
    planner = Planner()
    runs = [planner.run(point) for point in sweep(words)]
    assert len(planner.streams._made) <= 3
    for first, second in zip(runs[:5], runs[5:], strict=True):
        assert first.stream.seed == second.stream.seed
        assert first.stream.plan(0) == second.stream.plan(0)
    assert len({run.folder(Path()) for run in runs}) == 10
