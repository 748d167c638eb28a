"""Answers by class at the end: against a count by hand, through a resume, and when tampered with."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import go, pool, record_of, run

from clbench.engine.harness import run_stream, start_ledger
from clbench.engine.ledger import Ledger
from clbench.errors import ClbenchError
from clbench.leaderboard.entry import read_record
from clbench.leaderboard.reproduce.rerun import compare
from clbench.results import confusion
from clbench.results.record import Record
from clbench.results.record_schema import faults
from clbench.util.files import FileError

WORDS = {
    "scole": ("scenario=scole", "scenario.n_tasks=8", "scenario.n_classes=3"),
    "at the end": ("scenario=scole", "scenario.n_tasks=8", "scenario.chunk=5", "eval_every=7"),
    "sparse": ("scenario=scole", "scenario.n_tasks=3", "scenario.chunk=5", "eval_every=10"),
    "class": ("scenario=class_incremental",),
    "task": ("scenario=task_incremental",),
    "domain": ("scenario=domain_incremental", "scenario.n_tasks=3", "strategy.lr=0.01"),
    "groups": ("scenario=subgroup_shift", "scenario.n_tasks=3"),
}
IMAGES = pool(shape=(6, 6))


def ran(case: str, *more: str) -> tuple[Any, Any, Record]:
    on = IMAGES if case == "groups" else None
    prepared = run("strategy=naive", *WORDS[case], *more, on=on)
    strategy, outcome = go(prepared)
    return prepared, strategy, record_of(prepared, strategy, outcome)


@pytest.mark.parametrize("case", WORDS)
def test_against_a_count_by_hand(case: str):
    """Sample by sample, one at a time, with the classes of the sample's task where it is told."""
    prepared, strategy, record = ran(case)
    world, n = prepared.stream.world(), prepared.stream.n_classes
    wanted = [[0] * n for _ in range(n)]
    strategy.eval()
    for i in range(len(world.y)):
        told = None if world.task_id is None else world.task_id[i : i + 1]
        with torch.inference_mode():
            scores = strategy(world.x[i : i + 1], told)[0].tolist()
        cell = world.cells[int(world.cell[i])]
        may = [c for c in range(n) if cell.task_id is None]
        may += [c.label for c in world.cells if cell.task_id is not None and c[2] == cell.task_id]
        wanted[cell.label][max(may, key=lambda c: scores[c])] += 1
    assert record.answers is not None
    assert record.answers["counts"] == wanted
    assert record.answers["after"] == record.counts["evaluated_after"][-1]
    right = sum(wanted[c][c] for c in range(n)) / len(world.y)
    assert right == pytest.approx(record.metric("world_accuracy"))


def test_only_classes_of_its_task_are_answered_where_the_task_is_told():
    found = ran("task")[2].confusion().to_numpy()
    cells = ran("task")[2].counts["cells"]
    task = {cell["label"]: cell["task_id"] for cell in cells}
    across = [found[a, b] for a in task for b in task if task[a] != task[b]]
    assert across
    assert sum(across) == 0


@pytest.mark.parametrize("cut", [1, 4, 7, 8])
def test_a_resumed_run_gives_the_same(cut: int):
    """Also where it was put down after its last evaluation, so that none is made again."""
    whole, _, record = ran("scole")
    kept: dict[str, Any] = {}

    def save(ledger: Ledger, state: dict[str, Any]) -> None:
        kept.setdefault("ledger", json.loads(json.dumps(ledger.to_dict())))
        kept.setdefault("state", copy.deepcopy(state))

    strategy, ledger = whole.strategy(), start_ledger(whole)
    run_stream(whole, strategy, ledger, save=save, stop=lambda: ledger.experiences >= cut)
    again = whole.strategy()
    again.load_state_dict(kept["state"])
    outcome = run_stream(whole, again, Ledger.from_dict(kept["ledger"]))
    assert record_of(whole, again, outcome).answers == record.answers


def test_it_is_counted_once_a_run(monkeypatch: pytest.MonkeyPatch):
    calls, real = [], confusion.counted
    monkeypatch.setattr(confusion, "counted", lambda *a: calls.append(a) or real(*a))
    ran("scole")
    assert len(calls) == 1


def test_too_many_classes_leave_it_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(confusion, "MOST_CLASSES", 3)
    record = ran("class")[2]
    assert record.answers is None
    assert "answers" not in record.to_dict()
    assert record.confusion().empty
    assert faults(json.loads(json.dumps(record.to_dict()))) == []


def test_an_answer_that_is_no_class_leaves_it_out():
    assert confusion.counted(np.array([0, 1]), np.array([1, 2]), 2) is None
    assert confusion.counted(np.array([0, 1, 1]), np.array([1, 1, 0]), 2) == [[0, 1], [1, 1]]


def test_names_of_rows_and_columns():
    record = ran("class")[2]
    assert record.confusion().index.tolist() == [0, 1, 2, 3]
    named = Record(**{**vars(record), "class_names": ["ant", "bee", "cat", "dog"]})
    found = named.confusion()
    assert found.columns.tolist() == found.index.tolist() == ["ant", "bee", "cat", "dog"]
    assert found.to_numpy().sum() == 20


def test_the_accuracy_matrix_is_that_of_the_counts():
    record = ran("sparse")[2]
    counts, ends = record.counts, record.tasks["end"]
    found = record.accuracy_matrix()
    assert found.shape == (3, 3)
    for i, end in enumerate(ends):
        for j, view in enumerate(record.tasks["view"]):
            if end not in counts["evaluated_after"]:
                assert np.isnan(found.loc[i, j])
                continue
            row = counts["correct"][counts["evaluated_after"].index(end)]
            cells = counts["views"][view]
            size = sum(counts["cells"][c]["size"] for c in cells)
            assert found.loc[i, j] == pytest.approx(sum(row[c] for c in cells) / size)
    assert found.isna().to_numpy().any()
    assert not found.isna().to_numpy().all()


def moved(answers: dict[str, Any]) -> None:
    """One answer of class 0 given to another class: every sum stays."""
    row = answers["counts"][0]
    at = next(i for i in range(1, 4) if row[i])
    row[at] -= 1
    row[at % 3 + 1] += 1


BROKEN: dict[str, Callable[[dict[str, Any]], None]] = {
    "a row less": lambda a: a["counts"].pop(),
    "a column less": lambda a: a["counts"][1].pop(),
    "another time": lambda a: a.update(after=a["after"] - 1),
    "a sample more": lambda a: a["counts"][0].__setitem__(1, a["counts"][0][1] + 1),
    "others right": lambda a: a["counts"].reverse(),
    "text": lambda a: a["counts"][0].__setitem__(1, "1"),
    "below zero": lambda a: a["counts"].__setitem__(0, [-1, 2, 2, 2]),
    "a field more": lambda a: a.update(more=1),
    "no counts": lambda a: a.pop("counts"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_does_not_fit_the_counts_is_refused(what: str, tmp_path: Path):
    """By whoever loads the record, and by ``validate``, which reads it as a stranger's."""
    data = json.loads(json.dumps(ran("class")[2].to_dict()))
    assert faults(data) == []
    BROKEN[what](data["answers"])
    assert any("answers" in fault for fault in faults(data))
    (tmp_path / "seed0.json").write_text(json.dumps(data))
    with pytest.raises(FileError, match="answers"):
        read_record(tmp_path / "seed0.json")
    if what != "a field more":
        with pytest.raises(ClbenchError, match="is not a record"):
            Record.parse(data, tmp_path)


def test_classes_of_other_tasks_are_refused():
    data = json.loads(json.dumps(ran("task")[2].to_dict()))
    task = {cell["label"]: cell["task_id"] for cell in data["counts"]["cells"]}
    for row, of in zip(data["answers"]["counts"], range(4), strict=True):
        wrong = [c for c in range(4) if c != of and row[c]]
        if wrong:
            other = next(c for c in task if task[c] != task[of])
            row[other], row[wrong[0]] = row[wrong[0]], 0
            break
    assert any("none of its tasks" in fault for fault in faults(data))


def test_records_from_before_have_none():
    data = json.loads(json.dumps(ran("class")[2].to_dict()))
    del data["answers"]
    assert faults(data) == []
    assert Record.parse(data, Path("old")).answers is None


def test_verifying_compares_what_is_claimed():
    prepared, _, record = ran("class")
    del prepared
    board: Any = type("Board", (), {"primary": "world_accuracy"})()
    assert compare(board, record, record).equal
    other = copy.deepcopy(record)
    assert other.answers is not None
    moved(other.answers)
    assert "answers" in compare(board, other, record).refusal
    older = Record(**{**vars(record), "answers": None})
    assert compare(board, older, record).equal
