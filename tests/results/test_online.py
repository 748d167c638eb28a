"""Online accuracy: curves and tables by brute force, and counts that do not fit are named."""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import clbench
from small import go, record_of, run

from clbench.errors import ClbenchError
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.rerun import compare
from clbench.leaderboard.rules.measures import metrics_follow_from_counts
from clbench.results import online, panels
from clbench.results.plots import overview
from clbench.results.record import Record
from clbench.results.record_schema import faults

WORDS = (
    *("scenario=class_incremental", "scenario.chunk=7", "realtime=0.7", "prequential_ahead=2"),
    *("prequential_window=3", "label_delay=1"),
)


def make(*words: str, strategy: str = "naive") -> Record:
    r = run(f"strategy={strategy}", *words)
    return record_of(r, *go(r))


RECORD = make(*WORDS)
DATA: dict[str, Any] = json.loads(json.dumps(RECORD.to_dict()))
FOUND: dict[str, Any] = DATA["online"]


def test_a_record_without_predictions_has_no_word_of_them() -> None:
    plain = make("scenario=class_incremental").to_dict()
    assert "online" not in plain
    assert faults(json.loads(json.dumps(plain))) == []
    older = json.loads(json.dumps(plain))
    for name in (
        "prequential",
        "prequential_window",
        "prequential_ahead",
        "label_delay",
        "realtime",
    ):
        del older["config"][name]
    assert faults(older) == [], "a record from before the settings"
    assert Record.parse(older, Path("x")).metric("online_accuracy") is None


def test_sliding_windows_are_those_of_slices() -> None:
    rng = np.random.default_rng(0)
    size = rng.integers(0, 4, 50)
    correct = rng.integers(0, size + 1)
    for window in (1, 3, 100):
        found = online.sliding(correct, size, window)
        for t in range(50):
            part = slice(max(0, t + 1 - window), t + 1)
            n = size[part].sum()
            if n:
                assert found[t] == pytest.approx(correct[part].sum() / n)
            else:
                assert np.isnan(found[t])


def test_tasks_are_those_of_the_stream() -> None:
    """Each sample once, by the task that the stream says it is of."""
    r = run("strategy=naive", *WORDS)
    counts = RECORD.to_counts()
    found = counts.online
    assert found is not None
    tasks: dict[int, list[int]] = {}
    for t in range(len(found.size)):
        tasks.setdefault(r.stream.draw(t).task, []).append(t)
    wanted = [found.correct[at].sum() / found.size[at].sum() for at in tasks.values()]
    got = online.by_task(found.correct, found.size, counts.task_end)
    np.testing.assert_allclose(got, wanted)


def test_frame_has_a_row_for_each_experience() -> None:
    frame = RECORD.online_frame()
    assert len(frame) == RECORD.stream["experiences"]
    assert frame["correct"].tolist() == FOUND["correct"]
    assert frame["ahead"][2:].tolist() == FOUND["ahead"]["correct"]
    assert make("scenario=class_incremental").online_frame().empty


Change = Callable[[dict[str, Any]], None]


def put(*path: Any, value: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


LONG = [*FOUND["correct"], 0]
LAST = len(FOUND["size"]) - 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put("online", "correct", value=LONG), "online.correct must have a number for each"),
        (put("online", "size", value=LONG), "online.size must have a number for each"),
        (put("online", "blind", 0, value=99), "online.blind is outside 0..size"),
        (put("online", "correct", 1, value=99), "online.correct is outside 0..size"),
        (put("online", "classes", "size", value=[1]), "online.classes must have a number"),
        (put("online", "classes", "correct", 0, value=99), "online.classes.correct is outside"),
        (put("online", "classes", "size", 0, value=77), "classes.size does not add up"),
        (put("online", "ahead", "correct", value=LONG), "online.ahead.correct must have"),
        (put("online", "ahead", "correct", 0, value=99), "online.ahead.correct is outside"),
        (put("online", "ahead", "distance", value=1), "online.ahead.correct must have"),
        (put("online", "ahead", value=None), "config.prequential_ahead=2"),
        (put("online", "window", value=4), "config.prequential_window=3"),
        (put("config", "prequential", value=False), "config.prequential=False"),
        (put("config", "realtime", value=None), "config.realtime"),
        (put("online", "realtime", value=None), "config.realtime"),
        (put("online", "realtime", "missed", value=[3, 2]), "ascending"),
        (put("online", "realtime", "missed", value=[2, 2]), "ascending"),
        (put("online", "realtime", "missed", value=[0]), "labels never came, or the first"),
        (put("online", "realtime", "missed", value=[LAST]), "labels never came, or the first"),
        (put("online", "realtime", "missed", value=[]), "cost.samples_delivered is less"),
        (put("config", "label_delay", value=-1), "config.label_delay must be"),
        (put("config", "label_delay", value="1"), "config.label_delay must be"),
        (put("online", value=None), "online is missing"),
    ],
)
def test_counts_that_do_not_fit_are_named(change: Change, told: str, tmp_path: Path) -> None:
    data = copy.deepcopy(DATA)
    change(data)
    assert faults(DATA) == []
    assert any(told in fault for fault in faults(data)), faults(data)


@pytest.mark.parametrize(
    "change",
    [
        put("online", "correct", value=LONG),
        put("online", "correct", value="x"),
        put("online", "size", value=[None]),
        put("online", value={}),
        put("online", value=[]),
        put("online", "classes", value=3),
        put("online", "realtime", value={}),
    ],
)
def test_damaged_counts_are_one_line(change: Change) -> None:
    data = copy.deepcopy(DATA)
    change(data)
    with pytest.raises(ClbenchError) as caught:
        Record.parse(data, Path("record.json"))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for strategy, seed in (("naive", 0), ("naive", 1), ("er", 0)):
        path = folder / strategy / f"seed{seed}"
        path.mkdir(parents=True)
        words = ("scenario=class_incremental", "prequential=true", f"seed={seed}")
        make(*words, strategy=strategy).save(path / "record.json")
    return folder


def test_online_accuracy_by_task_as_csv(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = clbench(capsys, "results", runs, "--online")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    naive = [row for row in rows if row["strategy"] == "naive"]
    assert [row["task"] for row in naive] == ["0", "1"]
    assert {row["seeds"] for row in naive} == {"0 1"}
    records = [Record.load(runs / "naive" / f"seed{seed}" / "record.json") for seed in (0, 1)]
    for task, row in enumerate(naive):
        each = [r.online["correct"][task] / r.online["size"][task] for r in records]  # type: ignore[index]
        assert float(row["online_accuracy"]) == pytest.approx(sum(each) / 2)
        assert row["online_accuracy_n"] == "2"


def test_tables_have_the_baseline_beside(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = clbench(capsys, "results", runs, "--format", "md")
    assert code == 0
    assert "| online acc % | blind acc % |" in out.splitlines()[0]
    assert "next window" not in out


def test_figures_have_the_curves(tmp_path: Path) -> None:
    labels = [axes.get_ylabel() for axes in overview([RECORD]).axes]
    assert "online accuracy, last 3 experiences" in labels
    assert "online accuracy of the task" in labels
    plain = make("scenario=class_incremental")
    assert not any("online" in axes.get_ylabel() for axes in overview([plain]).axes)
    panels.save([RECORD, plain], tmp_path / "both.png")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")


TOLD = ("online_accuracy", "online_window_accuracy", "blind_accuracy", "next_window_accuracy")


@pytest.mark.parametrize("name", TOLD)
def test_a_metric_that_the_counts_do_not_give_is_found(name: str, tmp_path: Path) -> None:
    """By rule M1 of ``validate``, which computes each metric from the counts by experience anew."""
    (tmp_path / "entry").mkdir()
    entry = dataclasses.replace(load_entry(tmp_path / "entry"), records={0: RECORD})
    board: Any = None
    assert [*metrics_follow_from_counts(board, entry)] == []
    said = RECORD.metrics[name]
    better = {**said, "value": (said["value"] or 0) + 0.01}
    edited = dataclasses.replace(RECORD, metrics={**RECORD.metrics, name: better})
    entry = dataclasses.replace(entry, records={0: edited})
    [found] = metrics_follow_from_counts(board, entry)
    assert (found.rule, found.level) == ("M1", "error")
    assert f"metrics.{name}" in found.message


def test_verifying_compares_the_counts_by_experience() -> None:
    board: Any = type("Board", (), {"primary": "world_accuracy"})()
    assert compare(board, RECORD, RECORD).equal
    for name, value in (("correct", [0] * len(FOUND["size"])), ("blind", FOUND["size"])):
        online = {**copy.deepcopy(FOUND), name: value}
        edited = dataclasses.replace(RECORD, online=online)
        assert "online" in compare(board, edited, RECORD).refusal
