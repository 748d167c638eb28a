"""Records: what goes in comes out, nothing else comes in, and metrics follow from counts."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import go, pool, record_of, run

from clbench.engine.assemble import with_metrics
from clbench.errors import ClbenchError
from clbench.results import metrics
from clbench.results.record import Record, write_atomically
from clbench.results.record_schema import faults

GROUP_METRICS = {"worst_group_accuracy", "anytime_worst_group_accuracy"}
ONLINE_METRICS = {"online_accuracy", "blind_accuracy", "online_window_accuracy"}
AHEAD = {"next_window_accuracy"}
WORDS = {
    "scole": ("scenario=scole", "scenario.n_tasks=8"),
    "sparse": ("scenario=scole", "scenario.n_tasks=8", "scenario.chunk=5", "eval_every=7"),
    "class": ("scenario=class_incremental",),
    "task": ("scenario=task_incremental",),
    "domain": ("scenario=domain_incremental", "scenario.n_tasks=34"),
    "groups": ("scenario=subgroup_shift", "scenario.n_tasks=3"),
    "online": ("scenario=class_incremental", "prequential=true"),
    "ahead": (
        "scenario=class_incremental",
        "scenario.chunk=7",
        "realtime=0.7",
        "prequential_ahead=2",
    ),
}
NOT_ALL = {"missing_accuracy", "unseen_accuracy", "novel_accuracy", "harmonic_accuracy"}
"""Undefined where every task has all classes."""
IMAGES = pool(shape=(6, 6))


def make(case: str = "scole", strategy: str = "naive") -> Record:
    r = run(f"strategy={strategy}", *WORDS[case], on=IMAGES if case == "groups" else None)
    return record_of(r, *go(r))


RECORD = make()
DATA: dict[str, Any] = dataclasses.asdict(RECORD)


@pytest.mark.parametrize("case", WORDS)
def test_round_trip(case: str, tmp_path: Path):
    record = make(case, "ewc")
    record.save(tmp_path / "record.json")
    assert Record.load(tmp_path / "record.json") == record
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("case", WORDS)
def test_metrics_follow_from_the_counts_alone(case: str, tmp_path: Path):
    record = make(case)
    record.save(tmp_path / "record.json")
    loaded = Record.load(tmp_path / "record.json")
    bare = dataclasses.replace(loaded, metrics={}, retention=[], frequency=[])
    assert with_metrics(bare, bare.to_counts()) == record
    assert set(record.metrics) == set(metrics.table())
    assert all(set(m) == {"value", "n_terms"} for m in record.metrics.values())


def test_which_metrics_are_defined_where():
    defined = {
        case: {name for name, m in make(case).metrics.items() if m["value"] is not None}
        for case in WORDS
    }
    every = set(metrics.table()) - GROUP_METRICS - ONLINE_METRICS - AHEAD
    assert defined["groups"] == (every - {"forward_transfer"} - NOT_ALL) | GROUP_METRICS
    assert defined["class"] == every - {"forward_transfer"}
    assert defined["task"] == every
    assert defined["domain"] == every
    assert defined["scole"] == every - {"forward_transfer"}
    assert defined["online"] == defined["class"] | ONLINE_METRICS
    assert defined["ahead"] == defined["online"] | AHEAD


def test_records_from_before_there_were_groups_are_read(tmp_path: Path):
    """They name neither the metrics of groups nor whether there are any: there were none."""
    old = json.loads(json.dumps(DATA))
    del old["stream"]["groups"]
    for name in GROUP_METRICS:
        del old["metrics"][name]
    record = Record.parse(old, tmp_path)
    assert not record.to_counts().groups
    assert {record.metric(name) for name in GROUP_METRICS} == {None}
    assert with_metrics(record, record.to_counts()).metrics == RECORD.metrics
    assert faults(old) == []
    for name in metrics.required():
        bad = {**old, "metrics": {k: v for k, v in old["metrics"].items() if k != name}}
        assert faults(bad)
        with pytest.raises(ClbenchError):
            Record.parse(bad, tmp_path)


LATER = {m.name for m in metrics.BUILTIN if m.since}


def test_records_from_before_exposure_was_noted_are_read(tmp_path: Path):
    """The area over samples is undefined there; all else follows from the counts."""
    old = json.loads(json.dumps(DATA))
    del old["exposure"]
    for name in LATER:
        old["metrics"].pop(name, None)
    record = Record.parse(old, tmp_path)
    assert faults(old) == []
    assert record.metric("a_auc") is None
    wanted = {n: m for n, m in RECORD.metrics.items() if n != "a_auc"}
    found = with_metrics(record, record.to_counts()).metrics
    assert {n: m for n, m in found.items() if n != "a_auc"} == wanted
    assert RECORD.metric("a_auc") is not None


@pytest.mark.parametrize(
    "bad",
    [
        {"samples": [0]},
        {"first": [1]},
        {"samples": [*DATA["exposure"]["samples"][:-1], 0]},
        {"samples": [-1, *DATA["exposure"]["samples"][1:]]},
        {"first": [-2, *DATA["exposure"]["first"][1:]]},
    ],
    ids=str,
)
def test_exposure_that_does_not_fit_is_refused(bad: dict[str, list[int]], tmp_path: Path):
    wrong = {**DATA, "exposure": {**DATA["exposure"], **bad}}
    assert any("exposure" in fault for fault in faults(json.loads(json.dumps(wrong))))
    with pytest.raises(ClbenchError, match="exposure"):
        Record.parse(wrong, tmp_path)


def test_names_of_costs():
    assert {
        "train_seconds",
        "predict_seconds",
        "harness_seconds",
        "train_flops",
        "predict_flops",
        "samples_delivered",
        "updates",
        "state_bytes",
        "memory_bytes",
        "frozen_bytes",
        "peak_rss_bytes",
    } <= set(RECORD.cost)
    assert RECORD.metric("updates") == RECORD.cost["updates"] == 8
    assert RECORD.metric("world_accuracy") == RECORD.metrics["world_accuracy"]["value"]


def test_frame_has_a_row_for_each_evaluation():
    frame = make("task").frame()
    assert len(frame) == 3
    assert frame["experiences"].tolist() == [0, 1, 2]
    assert {c for c in frame.columns if c.startswith("class_")} == {
        f"class_{c}/task_{t}" for t, c in zip((0, 0, 1, 1), frame_labels("task"), strict=True)
    }
    assert frame.drop(columns=["loss"]).iloc[:, 1:].to_numpy().max() <= 1


def frame_labels(case: str) -> list[int]:
    return [cell["label"] for cell in make(case).counts["cells"]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_not_written(tmp_path: Path, value: float):
    path = tmp_path / "record.json"
    path.write_text("before")
    bad = dataclasses.replace(RECORD, diagnostics={"loss": [value]})
    with pytest.raises(ValueError, match="JSON"):
        bad.save(path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_nan_is_not_read(tmp_path: Path, word: str):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(DATA).replace(f'"seed": {RECORD.seed}', f'"seed": {word}'))
    assert word in path.read_text()
    assert word.strip("-") in refused(path)


def refused(path: Path) -> str:
    """The one line that a file which is not a record gets; it is left as it is."""
    before = path.read_bytes()
    with pytest.raises(ClbenchError) as caught:
        Record.load(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    return str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ClbenchError, match=path.name):
            Record.load(path)


def wrong(**changes: Any) -> dict[str, Any]:
    return {**DATA, **changes}


COUNTS = DATA["counts"]


@pytest.mark.parametrize(
    "data",
    [
        [],
        3,
        None,
        "x",
        {},
        {"schema": 1},
        wrong(schema=2),
        wrong(schema="1"),
        wrong(extra=1),
        wrong(schema=None),
        wrong(status="fine"),
        wrong(counts=None),
        wrong(counts={}),
        wrong(counts={**COUNTS, "correct": COUNTS["correct"][:-1]}),
        wrong(counts={**COUNTS, "correct": [[-1] * 4] * len(COUNTS["correct"])}),
        wrong(counts={**COUNTS, "correct": [[99] * 4] * len(COUNTS["correct"])}),
        wrong(counts={**COUNTS, "evaluated_after": COUNTS["evaluated_after"][::-1]}),
        wrong(counts={**COUNTS, "views": [[0, 77]]}),
        wrong(counts={**COUNTS, "cells": [1, 2]}),
        wrong(counts={**COUNTS, "evaluated_after": ["a"] * len(COUNTS["evaluated_after"])}),
        wrong(tasks=[]),
        wrong(tasks={"view": [0], "end": []}),
        wrong(stream=[]),
        wrong(tasks={"view": [55] * 8, "end": list(range(1, 9))}),
        wrong(tasks={"view": [0] * 8, "end": [2**70] * 8}),
    ],
    ids=lambda data: str(data)[:40],
)
def test_foreign_json_is_refused(tmp_path: Path, data: Any):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data))
    refused(path)


TEXT = json.dumps(DATA).encode()


def assert_read_or_refused(path: Path) -> None:
    try:
        record = Record.load(path)
    except ClbenchError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        record.to_counts()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, len(TEXT)), st.binary(max_size=8), st.integers(0, 30))
def test_whatever_a_file_holds_it_is_a_record_or_a_clbench_error(
    tmp_path: Path, at: int, junk: bytes, cut: int
):
    path = tmp_path / "record.json"
    path.write_bytes(TEXT[:at] + junk + TEXT[at + cut :])
    assert_read_or_refused(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["counts", "tasks", "stream", "status"]), st.integers(0, 9), JSON)
def test_whatever_a_field_holds_it_is_a_record_or_a_clbench_error(
    tmp_path: Path, name: str, which: int, junk: Any
):
    data = json.loads(TEXT)
    if isinstance(data[name], dict) and which < len(data[name]):
        data[name][sorted(data[name])[which]] = junk
    else:
        data[name] = junk
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data))
    assert_read_or_refused(path)


@pytest.mark.parametrize(
    "cut", [0, 1, 100, len(TEXT) // 2, len(TEXT) - 1], ids=["0", "1", "100", "half", "last"]
)
def test_truncated_records_are_refused(tmp_path: Path, cut: int):
    path = tmp_path / "record.json"
    path.write_bytes(TEXT[:cut])
    refused(path)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000])
def test_deep_nesting_is_refused(tmp_path: Path, deep: str):
    path = tmp_path / "record.json"
    path.write_text(deep)
    refused(path)


def test_a_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def killed(source: Any, target: Any) -> None:
        assert Path(source).parent == tmp_path, "rename is atomic within one file system only"
        assert Path(source).read_bytes() == b"new"
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(os, "replace", killed)
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_records_hold_nothing_of_the_machine():
    text = json.dumps(DATA)
    assert os.uname().nodename not in text
    assert str(Path.home()) + os.sep not in text
    assert str(Path(__file__).parents[2]) not in text


def test_the_global_generator_is_not_touched_by_making_records():
    random.seed(2)
    before = random.getstate()
    make()
    assert random.getstate() == before


def test_records_from_before_there_were_encoders_are_read(tmp_path: Path):
    """They say nothing of an encoder; neither does a record of today that has none."""
    plain = json.loads(json.dumps(RECORD.to_dict()))
    assert "encoder" not in plain
    assert Record.parse(plain, tmp_path).encoder is None
    assert faults(plain) == []
    assert faults({**plain, "encoder": None}) == []
    assert faults({**plain, "encoder": {"name": "x"}})
