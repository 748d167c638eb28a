"""The study's metrics on accuracy matrices made by hand, against their equations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.study.metrics import (
    accuracy_on_tasks,
    effective_replay_size,
    measure,
    relative_forgetting,
    task_accuracy,
)
from clbench.metric import Counts

SIZES = (10, 30, 20, 40)
"""Test samples of each class: means over tasks must not weigh by them."""


def counts(matrix: list[list[float]], tasks: list[list[int]]) -> Counts:
    """``matrix[i][c]``: accuracy on class c after task i + 1 (evaluated at 0 with all wrong)."""
    size = np.array(SIZES)
    rows = np.array([[0.0] * len(SIZES), *matrix])
    views = np.zeros((len(tasks), len(SIZES)), dtype=bool)
    for view, classes in zip(views, tasks, strict=True):
        view[classes] = True
    return Counts(
        evaluated_after=np.arange(len(rows)),
        label=np.arange(len(SIZES)),
        size=size,
        correct=(rows * size).round().astype(int),
        views=views,
        view_of_task=np.arange(len(tasks)),
        task_end=np.arange(1, len(tasks) + 1),
        task_ids=False,
    )


TASKS = [[2], [0, 1], [3]]
RUN = counts([[0, 0, 0.8, 0], [0.9, 0.5, 0.4, 0], [0.3, 0.1, 0.2, 1.0]], TASKS)
A_TASK = [0.8, (9 + 15) / 40, 1.0]
A_END = [0.2, (3 + 3) / 40, 1.0]
REINIT = counts([[0, 0, 1, 0], [1, 1, 0, 0], [0.2, 0.2, 0.1, 0.5]], TASKS)
IID = counts([[0.7, 0.7, 0.5, 0.9]], [[0, 1, 2, 3]])
ALONE = counts([[0, 0, 0.9, 0], [1, 1, 0, 0], [0, 0, 0, 0.95]], TASKS)


def test_each_metric_is_its_equation():
    found = measure(RUN, REINIT, IID, ALONE)
    a_cl, a_task, a_iid = np.mean(A_END), np.mean(A_TASK), np.mean([0.5, 0.7, 0.9])
    a_reinit, a_task_iid = np.mean([0.1, 0.2, 0.5]), np.mean([0.9, 1.0, 0.95])
    losses = [(b - e) / b for b, e in zip(A_TASK, A_END, strict=True)]
    assert found.a_cl == pytest.approx(a_cl)
    assert found.a_task_cl == pytest.approx(a_task)
    assert found.forgetting == pytest.approx(a_task - a_cl)
    assert found.relative_forgetting == pytest.approx(np.mean(losses))
    assert found.a_cl_reinit == pytest.approx(a_reinit)
    assert found.transfer == pytest.approx(a_cl - a_reinit)
    assert found.a_iid == pytest.approx(a_iid)
    assert found.a_task_iid == pytest.approx(a_task_iid)
    assert found.interference_total == pytest.approx(a_task_iid - a_iid)
    assert found.interference == pytest.approx(a_task_iid - a_task)


def test_what_lacks_its_sibling_is_undefined_and_the_rest_stays():
    alone, whole = measure(RUN), measure(RUN, REINIT, IID, ALONE)
    assert alone[:4] == whole[:4]
    assert alone[4:] == (None,) * 6
    some = measure(RUN, iid=IID, alone=ALONE)
    assert some.transfer is None
    assert some.interference_total == whole.interference_total


def test_means_over_tasks_do_not_weigh_by_samples():
    assert accuracy_on_tasks(RUN, RUN) != pytest.approx(float(RUN.world_accuracy[-1]))


def test_tasks_never_known_take_no_part_in_relative_forgetting():
    run = counts([[0, 0, 0, 0], [1, 1, 0, 0], [0.5, 0.5, 0.5, 1]], TASKS)
    assert relative_forgetting(run) == (pytest.approx((0.5 + 0) / 2), 2)
    nothing = counts([[0.0] * 4] * 3, TASKS)
    assert relative_forgetting(nothing) == (None, 0)


def test_a_task_not_evaluated_right_away_leaves_its_mean_undefined():
    late = replace(RUN, evaluated_after=np.array([0, 2, 3, 4]))
    assert task_accuracy(late) is None
    assert measure(late).forgetting is None
    assert relative_forgetting(late) == (None, 0)
    assert measure(late).a_cl is not None


def test_runs_over_other_worlds_are_not_compared():
    other = replace(IID, size=np.array(SIZES) + 1)
    with pytest.raises(ValueError, match="same world"):
        measure(RUN, iid=other)


# --- effective replay size -----------------------------------------------------------------------


def test_the_crossing_is_linear_in_the_logarithm_of_the_size():
    assert effective_replay_size([2, 32], [0.2, 0.6], 0.4) == (pytest.approx(8), "")
    assert effective_replay_size([2, 10, 50], [0.2, 0.6, 0.7], 0.6).size == pytest.approx(10)


@given(
    st.lists(st.integers(1, 10_000), min_size=2, max_size=6, unique=True).map(sorted),
    st.floats(0.1, 1),
    st.floats(0.05, 2),
    st.floats(0, 1),
)
def test_on_a_curve_linear_in_log_size_the_crossing_is_exact(
    sizes: list[int], base: float, slope: float, part: float
):
    wanted = math.exp(math.log(sizes[0]) + part * math.log(sizes[-1] / sizes[0]))
    curve = [base + slope * math.log(size) for size in sizes]
    found = effective_replay_size(sizes, curve, base + slope * math.log(wanted))
    assert found is not None
    assert found.size == pytest.approx(wanted, rel=1e-5)


def test_beyond_the_ends_of_the_curve_it_says_so():
    assert str(effective_replay_size([2, 10], [0.5, 0.6], 0.4)) == "<= 2"
    assert str(effective_replay_size([2, 10], [0.5, 0.6], 0.7)) == "> 10"
    assert str(effective_replay_size([2, 50], [0.1, 0.9], 0.5)) == "10"
    assert effective_replay_size([], [], 0.5) is None


def test_the_first_crossing_counts_where_the_curve_is_not_monotone():
    found = effective_replay_size([1, 10, 100, 1000], [0.1, 0.5, 0.3, 0.9], 0.4)
    assert found is not None
    assert 1 < found.size < 10
