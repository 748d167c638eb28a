"""Base task, sizes, class order, shots and long tails, against constructions from the recipes alone."""

from __future__ import annotations

import dataclasses
import math
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CPU, arrays, pool
from stream_recipes import chain, chain_of, rng_of
from test_scenarios import TEN, classes, make

from clbench.data.pool import TensorPool
from clbench.errors import UsageError

MANY = pool(n_classes=10, n_train=120, n_test=2)
KINDS = ("class_incremental", "task_incremental")


def recipe(
    on: TensorPool,
    seed: int,
    sizes: list[int],
    order: list[int],
    shots: int | None = None,
    tail: str = "none",
    ratio: float = 100.0,
) -> list[list[int]]:
    """Each task's samples, class by class: first the tail, then the shots."""
    of = on.labels("train").tolist()
    n = len(order)
    most = len(of) / n
    lengths = [math.floor(most * (1 / ratio) ** (i / (n - 1))) for i in range(n)]
    if tail == "shuffled":
        lengths = [lengths[i] for i in rng_of(seed, 0, 1).permutation(n)]
    tasks = []
    for t, (start, stop) in enumerate(pairwise(accumulate(sizes, initial=0))):
        members: list[int] = []
        for c in sorted(order[start:stop]):
            mine = [i for i, label in enumerate(of) if label == c]
            if tail != "none":
                mine = mine[: lengths[order.index(c)]]
            if shots is not None and t > 0:
                mine = np.random.default_rng((1, c)).permutation(mine).tolist()[:shots]
            members += mine
        tasks.append(members)
    return tasks


LEGACY = np.random.RandomState(1993).permutation(10).tolist()
GIVEN = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
CASES = {
    "base task": ({"first": 4, "n_tasks": 4}, [4, 2, 2, 2], None),
    "base task uneven": ({"first": 4, "classes_per_task": 4}, [4, 4, 2], None),
    "base task of many": ({"first": 3, "n_tasks": 5}, [3, 2, 2, 2, 1], None),
    "sizes": ({"sizes": [1, 6, 3]}, [1, 6, 3], None),
    "1993": ({"class_order": 1993}, [2] * 5, LEGACY),
    "by label": ({"class_order": "data", "n_tasks": 3}, [4, 3, 3], list(range(10))),
    "given": ({"class_order": GIVEN, "first": 5, "n_tasks": 2}, [5, 5], GIVEN),
    "shots": ({"first": 6, "shots": 5}, [6, 2, 2], None),
    "tail": ({"tail": "ordered", "class_order": 1993}, [2] * 5, LEGACY),
    "tail shuffled": ({"tail": "shuffled", "tail_ratio": 30.0}, [2] * 5, None),
    "tail and shots": (
        {"tail": "ordered", "tail_ratio": 10, "shots": 12, "first": 4, "n_tasks": 3},
        [4, 3, 3],
        None,
    ),
}
GOLDEN = {
    "base task": "a931272e177289de",
    "base task uneven": "922aa361aa656d5e",
    "base task of many": "92ce6c39d3591ec6",
    "sizes": "45709940df463417",
    "1993": "09f03bd30ccf90b6",
    "by label": "063eed021fac54eb",
    "given": "550a244ccbc7e823",
    "shots": "b8046b648c28bed7",
    "tail": "4fb6c69f28cc5f83",
    "tail shuffled": "5cb2e770312aa9cf",
    "tail and shots": "46f5e9f192ac47d1",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 7])
def test_streams_are_those_of_the_recipes(kind: str, case: str, seed: int):
    given, sizes, order = CASES[case]
    stream = make(kind, MANY, seed, **given)
    order = rng_of(seed, 0).permutation(10).tolist() if order is None else order
    limits = {k: v for k, v in given.items() if k in ("shots", "tail")}
    tasks = recipe(MANY, seed, sizes, order, ratio=given.get("tail_ratio", 100.0), **limits)  # type: ignore[arg-type]
    assert chain(stream) == chain_of(tasks, MANY, seed, stream.sha256)
    if seed == 7:
        assert chain(stream)[:16] == GOLDEN[case]


# --- properties ----------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 40),
    st.integers(2, 20) | st.none(),
    st.integers(1, 12) | st.none(),
    st.integers(0, 99),
)
def test_every_class_comes_once_after_a_base_task(
    n: int, first: int, n_tasks: int | None, per_task: int | None, seed: int
):
    on = pool(n_classes=n, n_train=1, n_test=1)
    given = {"first": first, "n_tasks": n_tasks, "classes_per_task": per_task}
    rest = n - first
    fits = rest > 0
    if n_tasks is not None:
        fits = fits and n_tasks - 1 <= rest
    if per_task is not None:
        fits = fits and per_task <= rest
    if n_tasks is not None and per_task is not None:
        fits = fits and (n_tasks - 1) * per_task == rest
    try:
        stream = make("class_incremental", on, seed, **given)
    except UsageError:
        assert not fits
        return
    assert fits
    tasks = classes(stream, stream.n_tasks or 0)
    assert sorted(c for task in tasks for c in task) == list(range(n))
    sizes = [len(task) for task in tasks]
    assert sizes[0] == first
    if n_tasks is not None:
        assert len(sizes) == n_tasks
        assert max(sizes[1:]) - min(sizes[1:]) <= (0 if per_task else 1)
    else:
        assert all(size == min(per_task or 2, rest) for size in sizes[1:-1])


@pytest.mark.parametrize("ratio", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("tail", ["ordered", "shuffled"])
def test_long_tails_have_the_published_sizes_and_a_balanced_test(tail: str, ratio: float):
    given = {} if ratio == 100.0 else {"tail_ratio": ratio}
    stream = make("class_incremental", MANY, 3, tail=tail, class_order="data", **given)
    count = np.zeros(10, dtype=int)
    for t in range(5):
        draw = stream.draw(t)
        np.add.at(count, draw.labels, 1)
        for c in stream.plan(t).classes:  # the first of each class
            there = np.flatnonzero(MANY.labels("train") == c)
            assert sorted(draw.index[draw.labels == c]) == there[: count[c]].tolist()
    wanted = [math.floor(120 * (1 / ratio) ** (i / 9)) for i in range(10)]
    assert count.tolist() == wanted if tail == "ordered" else sorted(count) == sorted(wanted)
    if tail == "shuffled" and ratio > 1:
        assert count.tolist() != wanted
    assert stream.world().sizes.tolist() == [2] * 10


def test_a_class_with_fewer_samples_than_the_tail_asks_for_gives_all():
    few = arrays(n_classes=3, n_train=20)
    keep = np.flatnonzero((few.train_y != 1) | (np.arange(60) % 4 == 0))
    uneven = dataclasses.replace(few, train_x=few.train_x[keep], train_y=few.train_y[keep])
    on = TensorPool(uneven, CPU)
    given = {"tail": "ordered", "tail_ratio": 3.0, "class_order": "[1,0,2]"}
    stream = make("class_incremental", on, n_tasks=3, **given)
    assert len(on.labels("train")) == 45
    assert [len(stream.draw(t).index) for t in range(3)] == [5, 8, 5]  # the formula: 15, 8, 5


def test_shots_are_the_same_for_every_seed_and_those_of_latent_replay():
    given = {"n_tasks": 5, "class_order": "data"}
    found = []
    for seed in (0, 4):
        stream = make("class_incremental", MANY, seed, shots=5, **given)
        assert len(stream.draw(0).index) == 240
        found.append([sorted(stream.draw(t).index) for t in range(1, 5)])
        assert all(len(index) == 10 for index in found[-1])
    assert found[0] == found[1]
    few = make("latent_replay", MANY, shots=5, n_tasks=5, task_order=0)
    assert found[0] == [sorted(few.draw(t).index) for t in range(1, 5)]


def test_the_order_is_part_of_the_streams_hash():
    orders = ("seed", "data", "1993", "[9,8,7,6,5,4,3,2,1,0]")
    hashes = {chain(make("class_incremental", class_order=order)) for order in orders}
    assert len(hashes) == len(orders)


def in_superclasses() -> TensorPool:
    few = dataclasses.replace(
        arrays(n_classes=6, n_train=4, n_test=2), superclasses=(2, 0, 1, 1, 0, 2)
    )
    return TensorPool(few, CPU)


def test_superclasses_are_tasks():
    on = in_superclasses()
    stream = make("class_incremental", on, superclasses=True, class_order="data")
    assert classes(stream, 3) == [(1, 4), (2, 3), (0, 5)]
    given = {"superclasses": True, "class_order": "[2,0,1]", "first": 1}
    stream = make("task_incremental", on, **given, classes_per_task=2)
    assert classes(stream, 2) == [(0, 5), (1, 2, 3, 4)]
    assert make("task_incremental", on, **given).n_tasks == 3
    merged = make("class_incremental", on, superclasses=True, class_order="data", n_tasks=2)
    assert classes(merged, 2) == [(1, 2, 3, 4), (0, 5)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"first": 10}, "scenario.first=10 leaves none"),
        ({"first": 3, "n_tasks": 1}, "scenario.first=3 leaves classes for more than n_tasks=1"),
        ({"first": 4, "n_tasks": 9}, "8 more tasks do not fit the 6 that are left"),
        ({"first": 4, "n_tasks": 3, "classes_per_task": 2}, "2 more tasks of 2 do not fit the 6"),
        ({"first": 4, "classes_per_task": 7}, "6 are left after scenario.first=4"),
        ({"sizes": [4, 5]}, r"scenario.sizes=\[4, 5\] add up to 9; the data have 10 classes"),
        ({"sizes": [10, 0]}, "scenario.sizes"),
        ({"sizes": [5, 5], "n_tasks": 2}, "scenario.sizes and scenario.n_tasks"),
        ({"sizes": [5, 5], "first": 5}, "scenario.sizes and scenario.first"),
        ({"shots": 4}, "scenario.shots=4: class . has 3 samples"),
        ({"shots": 2, "n_tasks": 1}, "there is one task"),
        ({"tail": "ordered"}, "scenario.tail_ratio=100 leaves a class no sample"),
        ({"tail_ratio": 3.0}, "scenario.tail_ratio=3 needs scenario.tail"),
        ({"class_order": "[0,1]"}, "scenario.class_order orders 2; the data have 10 classes"),
        ({"superclasses": True}, "these data have no super-classes"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused_in_one_line(kind: str, given: dict[str, object], told: str):
    with pytest.raises(UsageError, match=told) as error:
        make(kind, TEN, **given)
    assert "\n" not in str(error.value)
