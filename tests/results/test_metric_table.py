"""Metrics as data: one table that records, tables and boards read; packages add to it."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from small import run, short_record
from their_package import install

from clbench.cli import main
from clbench.errors import ClbenchError, UsageError
from clbench.metric import UNDEFINED, Metric
from clbench.results import metrics, tables
from clbench.results.record import Record
from clbench.results.record_schema import faults


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    """A record as today's code writes it."""
    made: dict[str, Any] = json.loads(json.dumps(short_record().to_dict()))
    return made


def median(record: Record) -> float:
    counts = record.to_counts()
    return statistics.median((counts.correct[-1] / counts.size).tolist())


def test_every_metric_is_defined_where_it_is_shown() -> None:
    for metric in metrics.table().values():
        assert metric.help.endswith(".")
        if metric.title.isupper():  # an abbreviation
            assert metric.help.startswith(f"{metric.title}: ")
    shown = dict(tables.definitions(tables.columns()))
    assert shown["ACC %"] == "mean over tasks of the accuracy on each at the end."
    assert set(shown) >= {f"{m.title} %" for m in metrics.BUILTIN}


@pytest.mark.parametrize("name", ["", "a b", "1a", "é", "a.b", "x" * 61])
def test_names_are_what_records_can_hold(name: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        Metric(name, metrics.forgetting, "x")


def test_a_metric_that_comes_into_the_table_makes_no_record_invalid(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Metric("mine", metrics.world_accuracy, "mine", everywhere=True)  # it says no day
    monkeypatch.setattr(metrics, "BUILTIN", (mine, *metrics.BUILTIN))
    assert faults(data) == []
    assert Record.parse(data, tmp_path).metric("mine") == data["metrics"]["world_accuracy"]["value"]


def test_a_record_stays_readable_with_a_metric_more(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "their_metrics:BOTH")
    assert "median_cell" not in data["metrics"]
    assert faults(data) == []
    record = Record.parse(data, tmp_path)
    assert record.metric("median_cell") == pytest.approx(median(record)), "from its counts"
    nothing = {
        **data,
        "counts": {**data["counts"], "evaluated_after": [], "correct": []},
        "exposure": {**data["exposure"], "samples": []},
        "answers": None,
    }
    assert Record.parse(nothing, tmp_path).metric("median_cell") is None


def test_a_record_stays_readable_with_a_metric_less(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for gone in metrics.BUILTIN:
        kept = tuple(m for m in metrics.BUILTIN if m is not gone)
        with monkeypatch.context() as patch:
            patch.setattr(metrics, "BUILTIN", kept)
            assert faults(data) == []
            record = Record.parse(data, tmp_path)
            assert record.metric(gone.name) == data["metrics"][gone.name]["value"]
            [row] = tables.summarise([record])
            assert gone.name not in row.values
            assert f",{gone.name}," not in tables.to_csv([row])


@pytest.mark.parametrize("value", ["0.5", [1], {}, True, float("inf")], ids=str)
def test_an_unknown_metric_is_a_number_or_null(
    data: dict[str, Any], tmp_path: Path, value: Any
) -> None:
    for good in (None, 0, -3.5, 1e9):
        more = {**data["metrics"], "unknown": {"value": good, "n_terms": 1}}
        assert faults({**data, "metrics": more}) == []
        assert "unknown" in Record.parse({**data, "metrics": more}, tmp_path).metrics
    bad = {**data["metrics"], "unknown": {"value": value, "n_terms": 1}}
    assert any("metrics.unknown" in fault for fault in faults({**data, "metrics": bad}))
    if value is not True and value != float("inf"):
        with pytest.raises(ClbenchError):
            Record.parse({**data, "metrics": bad}, tmp_path)


def test_a_package_adds_a_metric_everywhere(
    data: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One file of theirs is all it takes: records, tables, lists."""
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / "record.json").write_text(json.dumps({**data, "seed": 1}))
    install(tmp_path / "package", monkeypatch, "their_metrics:BOTH")
    record = short_record()
    assert record.metrics["median_cell"] == {"value": median(record), "n_terms": 4}
    assert record.metrics["evaluations"]["value"] == 3
    (tmp_path / "runs" / "new").mkdir()
    record.save(tmp_path / "runs" / "new" / "record.json")
    assert main(["results", str(tmp_path / "runs"), "--format", "csv"]) == 0
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["seeds"], row["median_cell_n"], row["evaluations"]) == ("0 1", "2", "3.0")
    assert main(["results", str(tmp_path / "runs"), "--format", "md"]) == 0
    out = capsys.readouterr().out
    assert "| MED % | evals |" in out
    assert "- **MED %**: the median accuracy of the cells at the end." in out
    assert main(["list", "metrics", "med*"]) == 0
    assert re.search(r"median_cell +MED: the median", capsys.readouterr().out)


def test_an_error_of_a_package_loses_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "their_metrics:FAILS")
    with pytest.warns(RuntimeWarning, match="fails failed: ZeroDivisionError"):
        record = short_record()
    assert record.metrics["fails"] == UNDEFINED._asdict()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("their_metrics:TAKEN", "'forgetting' is declared twice"),
        ("their_metrics:NO_METRIC", "must be a Metric or a list"),
        ("their_metrics:GONE", "does not import"),
        ("nowhere_at_all:X", "does not import"),
    ],
)
def test_what_a_package_declares_wrongly_is_a_usage_error(
    value: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, value)
    with pytest.raises(UsageError, match=told):
        metrics.table()
    with pytest.raises(UsageError, match=told):
        run("scenario=scole", "strategy=naive")  # before anything is trained


def test_costs_have_no_metric_of_their_name() -> None:
    names = [column.key for column in tables.columns()]
    assert len(set(names)) == len(names)
