"""Every file of ``examples/`` does what it says, and the guides name all of them."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import clbench as command
from small import write_npz

import clbench
from clbench.results.record import Record

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
FILES = sorted(path.name for path in EXAMPLES.glob("*.py"))
CHECKED = {"strategy": "strategy", "replay": "strategy", "scenario": "scenario", "model": "model"}
Capture = pytest.CaptureFixture[str]


def run(out: Path, **settings: Any) -> Record:
    record = clbench.run(out=out, quiet=True, device="cpu", **settings)
    assert isinstance(record, Record)
    assert record.status == "completed"
    return record


@pytest.fixture(autouse=True)
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clbench.results.plots.save_curve", lambda records, path: None)


@pytest.mark.parametrize("page", ["examples/README.md", "docs/guides.md"])
def test_the_pages_name_every_file(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [name for name in FILES if f"{name})" not in text] == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if group == "strategy" else ())
        for name, group in CHECKED.items()
    ],
)
def test_plugins_keep_the_contract(capsys: Capture, name: str):
    ran = command(capsys, "check", f"{CHECKED[name]}={EXAMPLES / name}.py")
    assert ran.code == 0, ran.out


def test_the_scenario_adds_a_class_with_each_task():
    made = clbench.prepare(scenario=EXAMPLES / "scenario.py", strategy="naive")
    counts = [len(made.stream.experience(t).y.unique()) for t in range(made.stream.n_tasks or 0)]
    assert counts == [*range(2, 11)]


def test_the_data_set_and_the_tracker_are_run_with_the_model(tmp_path: Path):
    files = {name: EXAMPLES / f"{name}.py" for name in ("model", "tracker")}
    record = run(
        tmp_path,
        scenario="class_incremental",
        strategy="naive",
        data=EXAMPLES / "data_set.py",
        model=files["model"],
        tracker=str(files["tracker"]),
    )
    assert record.stream["n_classes"] == 6
    assert record.class_names is not None
    assert sorted(record.class_names) == [f"ring {k}" for k in range(6)]
    [log] = tmp_path.rglob("log.txt")
    lines = log.read_text().splitlines()
    assert len(lines) == 2 + len(record.counts["evaluated_after"])
    assert lines[-1] == "completed"
    assert f"world accuracy {record.metric('world_accuracy'):.1%}" in lines[-2]


def test_the_anchor_holds_the_weights_back(tmp_path: Path):
    common = {"scenario": "class_incremental", "model": "linear", "max_tasks": 2}
    plain = run(tmp_path, **common, strategy="naive")
    found = [
        run(tmp_path, **common, strategy=EXAMPLES / "strategy.py", **{"strategy.pull": pull})
        for pull in (0.0, 9.0)
    ]
    assert found[0].predictions_sha256 == plain.predictions_sha256, "without a pull it is naive"
    assert found[1].predictions_sha256 != plain.predictions_sha256
    learnt = [record.metric("learning_accuracy") or 0.0 for record in found]
    assert learnt[1] < learnt[0], "weights that are held learn less"


def test_replayed_samples_weigh_more(tmp_path: Path):
    data = write_npz(tmp_path / "x.npz")
    common = {"scenario": "class_incremental", "data": "npz", "model": "linear"}
    words = {**common, "data.path": data}
    plain = run(tmp_path, **words, strategy="er")
    answers = [
        run(tmp_path, **words, strategy=EXAMPLES / "replay.py", **{"strategy.replay_weight": w})
        for w in (1.0, 2.0)
    ]
    assert answers[0].counts["correct"] == plain.counts["correct"], (
        "with weight 1 it is plain replay"
    )
    assert answers[0].predictions_sha256 == plain.predictions_sha256
    assert answers[1].predictions_sha256 != plain.predictions_sha256


def test_the_metric_is_computed_for_a_run(tmp_path: Path):
    record = run(tmp_path, scenario="class_incremental", strategy="naive", max_tasks=2)
    [path] = tmp_path.rglob("record.json")
    words = [sys.executable, str(EXAMPLES / "metric.py"), str(path.parent)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    sizes = [cell["size"] for cell in record.counts["cells"]]
    median = np.median(np.array(record.counts["correct"][-1]) / sizes)
    assert shown == f"MED {100 * median:.1f} % of {len(sizes)} cells\n"


@pytest.mark.slow
def test_the_sweep(tmp_path: Path, capsys: Capture):
    main = runpy.run_path(str(EXAMPLES / "sweep.py"))["main"]
    records = main(tmp_path)
    assert len(records) == 6
    assert {p.name for p in tmp_path.glob("*.png")} == {"curves.png", "matrix.png", "bytes.png"}
    assert "best: er" in capsys.readouterr().out
