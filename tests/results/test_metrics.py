"""Metrics against hand-computed examples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from clbench.results import metrics
from clbench.results.metrics import UNDEFINED, Counts, Value

GROUP_METRICS = {"worst_group_accuracy", "anytime_worst_group_accuracy"}


def counts(
    evaluated_after: list[int],
    correct: list[list[int]],
    views: list[list[int]],
    view_of_task: list[int],
    task_end: list[int],
    size: list[int] | None = None,
    label: list[int] | None = None,
    task_ids: bool = False,
    groups: bool = False,
    samples: list[int] | None = None,
    first: list[int] | None = None,
) -> Counts:
    n = len(correct[0]) if correct else len(size or [])
    members = np.zeros((len(views), n), dtype=bool)
    for row, cells in zip(members, views, strict=True):
        row[cells] = True
    return Counts(
        evaluated_after=np.array(evaluated_after, dtype=np.int64),
        label=np.arange(n) if label is None else np.array(label),
        size=np.full(n, 10) if size is None else np.array(size),
        correct=np.array(correct, dtype=np.int64).reshape(-1, n),
        views=members,
        view_of_task=np.array(view_of_task, dtype=np.int64),
        task_end=np.array(task_end, dtype=np.int64),
        task_ids=task_ids,
        groups=groups,
        samples=None if samples is None else np.array(samples, dtype=np.int64),
        first=None if first is None else np.array(first, dtype=np.int64),
    )


THREE_TASKS = counts(
    [0, 1, 2, 3],
    [[1, 0, 2], [9, 0, 0], [6, 8, 1], [4, 5, 10]],
    [[0], [1], [2]],
    [0, 1, 2],
    [1, 2, 3],
)


def test_forgetting_and_transfer_by_hand():
    """Rows .9 . . / .6 .8 . / .4 .5 1: FM = ((.9-.4) + (.8-.5)) / 2 = BWT negated."""
    found = metrics.compute(THREE_TASKS)
    assert found["forgetting"] == pytest.approx(Value(0.4, 2))
    assert found["backward_transfer"] == pytest.approx(Value(-0.4, 2))
    assert found["learning_accuracy"] == pytest.approx(Value((0.9 + 0.8 + 1.0) / 3, 3))
    assert found["average_accuracy"] == pytest.approx(Value(19 / 30, 3))
    aaa = (0.9 + (0.6 + 0.8) / 2 + (0.4 + 0.5 + 1.0) / 3) / 3
    assert found["anytime_average_accuracy"] == pytest.approx(Value(aaa, 3))
    assert found["world_accuracy"] == pytest.approx(Value(19 / 30, 30))
    assert found["anytime_world_accuracy"] == pytest.approx(Value((9 + 15 + 19) / 90, 3))
    assert found["worst_cell_accuracy"] == pytest.approx(Value(0.4, 3))


def test_worst_group_by_hand():
    """Worst of .1 .0 .2, then of .4 .5 .3; null where cells are no groups."""
    c = counts([0, 1, 3], [[0, 0, 0], [1, 0, 2], [4, 5, 3]], [[0, 1, 2]], [0, 0], [1, 3])
    grouped = metrics.compute(dataclasses.replace(c, groups=True))
    assert grouped["worst_group_accuracy"] == pytest.approx(Value(0.3, 3))
    assert grouped["anytime_worst_group_accuracy"] == pytest.approx(Value((0.0 + 2 * 0.3) / 3, 2))
    found = metrics.compute(c)
    assert {found[name] for name in GROUP_METRICS} == {UNDEFINED}
    assert {n: m for n, m in grouped.items() if n not in GROUP_METRICS} == {
        n: m for n, m in found.items() if n not in GROUP_METRICS
    }


def test_average_incremental_accuracy_by_hand():
    """Stages .9, (6 + 8)/20 and (4 + 5 + 10)/30; of unequal sizes it is no mean over tasks."""
    found = metrics.compute(THREE_TASKS)["average_incremental_accuracy"]
    assert found == pytest.approx(Value((0.9 + 14 / 20 + 19 / 30) / 3, 3))
    uneven = counts([0, 1, 2], [[0, 0], [8, 0], [4, 3]], [[0], [1]], [0, 1], [1, 2], size=[8, 3])
    wanted = pytest.approx(Value((8 / 8 + 7 / 11) / 2, 2))
    assert metrics.compute(uneven)["average_incremental_accuracy"] == wanted


def test_forgetting_uses_the_best_since_learnt_not_only_right_after():
    """Task 0 is at .5 when learnt, .9 after task 1, .6 at the end: forgot .3, BWT +.1."""
    c = counts(
        [0, 1, 2, 3],
        [[0, 0, 0], [5, 0, 0], [9, 7, 0], [6, 7, 7]],
        [[0], [1], [2]],
        [0, 1, 2],
        [1, 2, 3],
    )
    assert metrics.forgetting(c) == pytest.approx(Value((0.3 + 0.0) / 2, 2))
    assert metrics.backward_transfer(c) == pytest.approx(Value((0.1 + 0.0) / 2, 2))


def test_forgetting_leaves_the_last_evaluation_out_of_the_maximum():
    """A task that is best at the end has been forgotten by a negative amount, not by zero."""
    c = counts([1, 2], [[5, 0], [8, 9]], [[0], [1]], [0, 1], [1, 2])
    assert metrics.forgetting(c) == pytest.approx(Value(-0.3, 1))


def test_forgetting_does_not_look_before_the_task_was_learnt():
    c = counts([1, 2, 3], [[9, 10, 0], [8, 5, 0], [8, 4, 9]], [[0], [1], [2]], [0, 1, 2], [1, 2, 3])
    assert metrics.forgetting(c) == pytest.approx(Value(((0.9 - 0.8) + (0.5 - 0.4)) / 2, 2))


def test_forward_transfer_is_null_for_class_incremental_single_heads():
    assert metrics.forward_transfer(THREE_TASKS) == UNDEFINED


def test_forward_transfer_of_task_incremental():
    """With task identities an unseen class can be guessed: right before less at the very start."""
    c = dataclasses.replace(THREE_TASKS, task_ids=True)
    assert metrics.forward_transfer(c) == pytest.approx(Value(((0 - 0) + (0.1 - 0.2)) / 2, 2))


def test_forward_transfer_of_domain_incremental():
    """Two classes in two domains; the second domain's cells are new, its classes are not."""
    c = counts(
        [0, 1, 2],
        [[1, 1, 2, 1], [9, 9, 6, 5], [8, 8, 9, 9]],
        [[0, 1], [2, 3]],
        [0, 1],
        [1, 2],
        label=[0, 1, 0, 1],
    )
    assert metrics.forward_transfer(c) == pytest.approx(Value(11 / 20 - 3 / 20, 1))


def test_forward_transfer_leaves_out_tasks_whose_cells_came_before():
    """Where classes recur the gain would be retention."""
    c = counts([0, 1, 2], [[0, 0], [9, 0], [9, 9]], [[0], [0, 1]], [0, 1], [1, 2])
    assert metrics.forward_transfer(c) == UNDEFINED
    assert metrics.forward_transfer(dataclasses.replace(c, task_ids=True)) == UNDEFINED


def test_forward_transfer_needs_the_evaluation_before_anything():
    c = dataclasses.replace(THREE_TASKS, task_ids=True)
    late = dataclasses.replace(c, evaluated_after=c.evaluated_after[1:], correct=c.correct[1:])
    assert metrics.forward_transfer(late) == UNDEFINED


def test_single_task():
    c = counts([0, 1], [[1, 1], [9, 7]], [[0, 1]], [0], [1])
    found = metrics.compute(c)
    for name in ("forgetting", "backward_transfer", "forward_transfer"):
        assert found[name] == UNDEFINED
    assert found["average_accuracy"] == found["learning_accuracy"] == pytest.approx(Value(0.8, 1))


def test_nothing_evaluated():
    c = counts([], [], [], [], [], size=[3, 4])
    assert metrics.compute(c) == dict.fromkeys(metrics.table(), UNDEFINED)
    assert metrics.retention(c) == []
    assert metrics.frequency(c) == []


def test_nothing_learnt():
    """Only the evaluation before the stream: a world accuracy, and no average over a stream."""
    found = metrics.compute(counts([0], [[1, 2]], [], [], []))
    assert found["world_accuracy"] == pytest.approx(Value(0.15, 20))
    for name in set(metrics.table()) - {"world_accuracy", "worst_cell_accuracy"}:
        assert found[name] == UNDEFINED, name


def test_evaluations_weigh_what_they_stand_for():
    """After 1, 2 and 10 experiences: weights 1, 1, 8, whatever was evaluated before the first."""
    c = counts([0, 1, 2, 10], [[10], [1], [3], [5]], [[0]], [0] * 10, list(range(1, 11)))
    assert metrics.anytime_world_accuracy(c) == pytest.approx(Value((0.1 + 0.3 + 8 * 0.5) / 10, 3))


def test_retention_by_hand():
    """Classes 0, 1, 0: at the end class 0 is new and class 1 was seen one task ago."""
    c = counts([0, 1, 2, 3], [[5, 5], [8, 0], [4, 6], [9, 3]], [[0], [1]], [0, 1, 0], [1, 2, 3])
    newest, one = metrics.retention(c)
    assert newest == pytest.approx(metrics.Retention(0, 0, (0.8 + 0.6 + 0.9) / 3, 3))
    assert one == pytest.approx(metrics.Retention(1, 1, (0.4 + 0.3) / 2, 2))


def test_retention_bins_double():
    """One class, then another for 20 tasks: it was last seen 0, 1, ..., 20 tasks ago."""
    n = 21
    c = counts(
        list(range(1, n + 1)), [[10, 0]] * n, [[0], [1]], [0] + [1] * 20, list(range(1, n + 1))
    )
    rows = metrics.retention(c)
    assert [(r.since, r.to) for r in rows] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 4),
        (5, 8),
        (9, 16),
        (17, 32),
    ]
    assert [r.n_terms for r in rows] == [1 + 20, 1, 1, 2, 4, 8, 4]
    assert [r.accuracy for r in rows[1:]] == [1.0] * 6


def test_frequency_by_hand():
    c = counts([4], [[8, 2, 1]], [[0, 1], [0]], [0, 1, 1, 0], [1, 2, 3, 4], size=[10, 10, 5])
    assert metrics.frequency(c) == [
        metrics.Frequency(0, 1.0, 0.8, 10),
        metrics.Frequency(1, 0.5, 0.2, 10),
        metrics.Frequency(2, 0.0, 0.2, 5),
    ]


def test_present_missing_and_unseen_by_hand():
    """Tasks {0, 1}, {1, 2}, {0, 1}; class 3 never comes, and class 0 has fewer test samples."""
    c = counts(
        [1, 2, 3],
        [[4, 6, 1, 0], [2, 8, 5, 2], [3, 7, 2, 1]],
        [[0, 1], [1, 2]],
        [0, 1, 0],
        [1, 2, 3],
        size=[5, 10, 10, 10],
    )
    found = metrics.compute(c)
    assert found["present_accuracy"] == pytest.approx(Value((0.7 + 0.65 + 0.65) / 3, 3))
    assert found["learning_accuracy"] == pytest.approx(Value((10 / 15 + 0.65 + 10 / 15) / 3, 3))
    assert found["missing_accuracy"] == pytest.approx(Value((0.4 + 0.2) / 2, 2))
    assert found["unseen_accuracy"] == pytest.approx(Value((0.05 + 0.2 + 0.1) / 3, 3))


def test_area_under_the_accuracy_by_hand():
    """Class 0 is seen from experience 1 on, class 1 from 3, class 2 never; 60 samples in all."""
    c = counts(
        [0, 1, 2, 5],
        [[3, 3, 3], [8, 9, 9], [6, 9, 9], [4, 10, 9]],
        [],
        [],
        [],
        samples=[0, 20, 30, 60],
        first=[1, 3, -1],
    )
    area = 20 * 0.8 + 10 * 0.6 + 30 * (14 / 20)
    assert metrics.compute(c)["a_auc"] == pytest.approx(Value(area / 60, 3))
    equal = dataclasses.replace(c, samples=np.array([0, 20, 40, 60]))
    assert metrics.compute(equal)["a_auc"] == pytest.approx(Value((0.8 + 0.6 + 0.7) / 3, 3))
    for absent in ("samples", "first"):
        assert metrics.compute(dataclasses.replace(c, **{absent: None}))["a_auc"] == UNDEFINED
    never = dataclasses.replace(c, first=np.array([-1, -1, -1]))
    assert metrics.compute(never)["a_auc"] == UNDEFINED
