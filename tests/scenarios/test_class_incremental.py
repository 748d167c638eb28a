"""Class- and task-incremental streams: disjoint classes, and what a task tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scenarios import classes, make

from clbench.errors import UsageError
from clbench.scenario import split_classes


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 99), st.booleans())
def test_splits_cover_every_class_once(n: int, many: int, seed: int, by_tasks: bool):
    try:
        tasks = split_classes(n, many if by_tasks else None, None if by_tasks else many, seed)
    except UsageError:
        assert many > n
        return
    assert many <= n
    assert sorted(c for task in tasks for c in task.classes) == list(range(n))
    sizes = [len(task.classes) for task in tasks]
    if by_tasks:
        assert len(tasks) == many
        assert max(sizes) - min(sizes) <= 1
        assert sizes == sorted(sizes, reverse=True)
    else:
        assert sizes[:-1] == [many] * (len(sizes) - 1)
        assert 1 <= sizes[-1] <= many


def test_class_incremental_remainders():
    assert [len(c) for c in classes(make("class_incremental", n_tasks=4), 4)] == [3, 3, 2, 2]
    by_three = make("class_incremental", classes_per_task=3)
    assert by_three.n_tasks == 4
    assert [len(c) for c in classes(by_three, 4)] == [3, 3, 3, 1]
    assert make("class_incremental").n_tasks == 5
    assert make("class_incremental", n_tasks=5, classes_per_task=2).n_tasks == 5


@pytest.mark.parametrize("bad", [(11, None), (None, 11), (2, 3), (6, 2)])
def test_class_incremental_refuses(bad: tuple[int | None, int | None]):
    with pytest.raises(UsageError):
        make("class_incremental", n_tasks=bad[0], classes_per_task=bad[1])


def test_class_incremental_is_disjoint_and_tells_no_task():
    stream = make("class_incremental")
    assert stream.disjoint
    assert not stream.task_ids
    assert len(stream.cells) == 10
    assert len({tuple(classes(make("class_incremental", seed=s), 5)) for s in range(5)}) == 5


def test_task_incremental_has_a_cell_for_each_class_of_each_task():
    stream = make("task_incremental", n_tasks=4)
    cells = [(t, c) for t, task in enumerate(classes(stream, 4)) for c in task]
    assert [(cell.task_id, cell.label) for cell in stream.cells] == cells
    world = stream.world()
    assert world.allowed is not None
    for t, task in enumerate(classes(stream, 4)):
        assert np.flatnonzero(world.allowed[t].numpy()).tolist() == list(task)
        assert stream.experience(t).task_id.unique().tolist() == [t]  # type: ignore[union-attr]
