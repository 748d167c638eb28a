"""Figures of runs: a panel for what the records have, and none for what they have not."""

from __future__ import annotations

from small import go, record_of, run

from clbench.results.plots import overview

FREQUENCY = "share of tasks with the class"


def panels(*words: str) -> list[str]:
    """What is on the horizontal axes of a run's overview."""
    one = run("strategy=naive", *words)
    return [axes.get_xlabel() for axes in overview([record_of(one, *go(one))]).axes]


def test_frequency_is_drawn_where_classes_come_unequally_often():
    assert FREQUENCY in panels("scenario=scole", "scenario.n_tasks=3")
    assert FREQUENCY not in panels("scenario=class_incremental", "scenario.n_tasks=2")
