"""Figures of many runs: what each panel shows, held against the metrics that say the same."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from commands import clbench
from small import go, record_of, run

from clbench.cli import results as command
from clbench.errors import UsageError
from clbench.results import panel_kinds, panels
from clbench.results.arms import by_arm
from clbench.results.record import Record

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = []
    for scenario in ("scenario=scole scenario.n_tasks=4", "scenario=class_incremental"):
        for words in ("strategy=naive seed=0", "strategy=naive seed=1", "strategy=joint seed=0"):
            one = run(*scenario.split(), *words.split())
            found.append(record_of(one, *go(one)))
    return found


def titles(records: list[Record], kind: str) -> list[str]:
    figure = panels.draw(records, kind)
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


@pytest.mark.parametrize("kind", panels.KINDS)
def test_a_panel_for_each_scenario_or_for_each_arm(records: list[Record], kind: str):
    shown = titles(records, kind)
    if panels.KINDS[kind].each:
        assert len(shown) == len(by_arm(records)) == 4
        assert sum(title.endswith("% (n=2)") for title in shown) == 2
    else:
        assert shown == ["scole on digits", "class_incremental on digits"]


def test_arms_come_sorted_by_their_value(records: list[Record]):
    for order in (records, records[::-1]):
        for axes in panels.draw(order, "curves").axes:
            values = [float(t.get_text().split()[-2]) for t in axes.get_legend().get_texts()]
            assert values == sorted(values, reverse=True)
            assert len(values) == 2


def test_a_curve_has_the_average_of_the_metric(records: list[Record]):
    """Where classes never recur the mean of the curve is AIA; else it ends at the world accuracy."""
    for record in records:
        at, values = panel_kinds.curve(record)
        if record.config["scenario"]["name"] == "class_incremental":
            assert at.tolist() == [*range(1, len(record.tasks["end"]) + 1)]
            metric = record.metric("average_incremental_accuracy")
            assert values.mean() == pytest.approx(metric)
        else:
            assert at.tolist() == record.counts["evaluated_after"]
            assert values[-1] == pytest.approx(record.metric("world_accuracy"))


def test_forgetting_of_the_tasks_has_the_mean_of_the_metric(records: list[Record]):
    for record in records:
        of = panel_kinds.forgetting_by_task(record)
        assert len(of) == len(record.tasks["end"])
        assert np.nanmean(of) == pytest.approx(record.metric("forgetting"))


def test_only_completed_runs_are_drawn(records: list[Record]):
    bad = [dataclasses.replace(r, status="diverged") for r in records]
    with pytest.raises(UsageError, match="no completed run"):
        panels.draw(bad)
    without = [dataclasses.replace(r, answers=None) for r in records]
    with pytest.raises(UsageError, match="--plot-kind confusion: no completed run"):
        panels.draw(without, "confusion")


def test_too_many_panels_are_refused(records: list[Record], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(panels, "MOST_PANELS", 3)
    with pytest.raises(UsageError, match="4 panels, at most 3"):
        panels.draw(records, "matrix")


def test_the_command_knows_the_kinds(capsys: Capture, tmp_path: Path):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    assert tuple(panels.KINDS) == command.PLOT_KINDS
    assert clbench(capsys, "results", tmp_path, "--plot-kind", "matrix").code == 2
    assert "goes with --plot" in clbench(capsys, "results", tmp_path, "--plot-kind", "bytes").err


def test_an_error_names_the_file_that_was_asked_for(
    capsys: Capture, records: list[Record], tmp_path: Path
):
    for number, record in enumerate(records):
        (tmp_path / str(number)).mkdir()
        record.save(tmp_path / str(number) / "record.json")
    for file in (tmp_path / "no" / "x.png", Path("/proc/x.png")):
        code, out, err = clbench(capsys, "results", tmp_path, "--plot", file)
        assert (code, out) == (2, "")
        assert f"--plot {file}: " in err
        assert ".part" not in err
