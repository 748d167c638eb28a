"""i-Blurry and Si-Blurry: streams against a construction from the recipe, and what holds of all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from small import pool
from test_scenarios import TEN, classes, make, scenario_of

from clbench.errors import UsageError
from clbench.stream import Stream

MANY = pool(n_classes=10, n_train=40, n_test=1)
HUNDRED = pool(n_classes=100, n_train=10, n_test=1)


def recipe(
    labels: np.ndarray, n_tasks: int, n: int, m: int, stochastic: bool, seed: int
) -> list[list[int]]:
    """The samples of each task, one list at a time."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    n_classes = int(labels.max()) + 1
    order = rng.permutation(n_classes).tolist()
    n_disjoint = n_classes * n // 100

    def cuts(size: int) -> list[int]:
        drawn = rng.integers(0, size, n_tasks - 1).tolist() if size else [0] * (n_tasks - 1)
        return [0, *sorted(drawn), size]

    def equal(values: list[int]) -> list[list[int]]:
        found, rest = [], values
        for t in range(n_tasks):
            width = len(values) // n_tasks + (t < len(values) % n_tasks)
            found.append(rest[:width])
            rest = rest[width:]
        return found

    def at(values: list[int], places: list[int]) -> list[list[int]]:
        return [values[places[t] : places[t + 1]] for t in range(n_tasks)]

    groups = []
    for part in (order[:n_disjoint], order[n_disjoint:]):
        groups.append(at(part, cuts(len(part))) if stochastic else equal(part))
    disjoint, blurry = ([[i for i, y in enumerate(labels) if y in g] for g in gs] for gs in groups)
    blurry = [[mine[i] for i in rng.permutation(len(mine))] for mine in blurry]
    if stochastic:
        places = cuts(sum(map(len, blurry)) * m // 100)
        leak = [places[t + 1] - places[t] for t in range(n_tasks)]
    else:
        leak = [len(mine) * m // 100 for mine in blurry]
    leaked = [i for mine, k in zip(blurry, leak, strict=True) for i in mine[:k]]
    leaked = [leaked[i] for i in rng.permutation(len(leaked))]
    back = at(leaked, places) if stochastic else equal(leaked)
    tasks = [[*disjoint[t], *blurry[t][leak[t] :], *back[t]] for t in range(n_tasks)]
    return [task for task in tasks if task]


def assert_delivers(stream: Stream, tasks: list[list[int]]) -> None:
    assert stream.n_tasks == len(tasks)
    of = stream.pool.labels("train")
    for t, task in enumerate(tasks):
        assert sorted(stream.draw(t).index.tolist()) == sorted(task), t
        assert stream.plan(t).classes == tuple(sorted({int(of[i]) for i in task}))


WORDS = st.tuples(
    st.integers(1, 10), st.integers(0, 100), st.integers(0, 100), st.booleans(), st.integers(0, 999)
)


@settings(max_examples=150, deadline=None)
@given(WORDS)
def test_tasks_are_those_of_the_recipe(words: tuple[int, int, int, bool, int]):
    n_tasks, n, m, stochastic, seed = words
    boundaries = "stochastic" if stochastic else "fixed"
    stream = make(
        "blurry",
        MANY,
        seed,
        n_tasks=n_tasks,
        disjoint=n,
        blur=m,
        boundaries=boundaries,
        chunk=None,
    )
    tasks = recipe(MANY.labels("train"), n_tasks, n, m, stochastic, seed)
    assert_delivers(stream, tasks)
    # One pass: every sample once, in whatever chunks.
    assert sorted(i for task in tasks for i in task) == list(range(400))
    cut = make(
        "blurry", MANY, seed, n_tasks=n_tasks, disjoint=n, blur=m, boundaries=boundaries, chunk=7
    )
    assert cut.n_tasks is not None
    draws = [cut.draw(number).index for number in range(cut.n_experiences(cut.n_tasks))]
    assert sorted(np.concatenate(draws)) == list(range(400))


@settings(max_examples=60, deadline=None)
@given(WORDS)
def test_disjoint_classes_come_in_one_task_and_blurry_ones_leak(
    words: tuple[int, int, int, bool, int],
):
    n_tasks, n, m, stochastic, seed = words
    stream = make(
        "blurry",
        MANY,
        seed,
        n_tasks=n_tasks,
        disjoint=n,
        blur=m,
        boundaries="stochastic" if stochastic else "fixed",
        chunk=None,
    )
    assert stream.n_tasks is not None
    times = Counter(c for task in classes(stream, stream.n_tasks) for c in task)
    assert sorted(times) == list(range(10))
    assert sum(k == 1 for k in times.values()) >= 10 * n // 100
    assert stream.disjoint == (set(times.values()) == {1})
    if n == 100 or m == 0:
        assert stream.disjoint


def test_the_published_split_of_a_hundred_classes():
    """i-Blurry-50-10: five tasks of ten disjoint and ten blurry classes, a tenth of which leaks."""
    stream = make("blurry", HUNDRED, chunk=None)
    of = HUNDRED.labels("train")
    counts = np.array([np.bincount(of[stream.draw(t).index], minlength=100) for t in range(5)])
    assert counts.sum(1).tolist() == [200] * 5
    disjoint = (counts == 10).any(0) & ((counts > 0).sum(0) == 1)
    assert disjoint.sum() >= 50
    home = counts.argmax(0)
    assert np.bincount(home, minlength=5).min() >= 19
    # Of 100 blurry samples in a task, 10 leak; a fifth of them come home again.
    away = 500 - counts[:, ~disjoint].max(0).sum() - 10 * (disjoint.sum() - 50)
    assert 25 <= away <= 50


def test_stochastic_cuts_vary_the_sizes():
    stochastic = scenario_of("blurry", boundaries="stochastic", chunk=None)
    fixed = scenario_of("blurry", chunk=None)
    drawn = [len(stochastic.stream(HUNDRED, seed).draw(0).index) for seed in range(30)]
    assert len(set(drawn)) > 12
    assert {len(fixed.stream(HUNDRED, seed).draw(0).index) for seed in range(5)} == {200}


def test_the_first_cut_is_the_least_of_four_uniform_integers():
    """Without blur the number of disjoint classes in task 0 is min of T - 1 = 4 draws of 0..49."""
    found, scenario = [], scenario_of("blurry", boundaries="stochastic", blur=0, chunk=None)
    for seed in range(600):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
        mine = set(rng.permutation(100)[:50].tolist())
        found.append(len(mine & set(scenario.stream(HUNDRED, seed).plan(0).classes)))
    wanted = [((50 - v) / 50) ** 4 - ((49 - v) / 50) ** 4 for v in range(50)]
    bins = [(0, 3), (3, 6), (6, 10), (10, 16), (16, 50)]
    seen = [sum(low <= f < high for f in found) for low, high in bins]
    # Task 0 is another one where the first was empty: rare, as it needs two cuts at zero.
    expected = [600 * sum(wanted[low:high]) for low, high in bins]
    assert stats.chisquare(seen, expected).pvalue > 1e-3


def test_empty_tasks_are_dropped():
    sizes = set()
    for seed in range(40):
        stream = make("blurry", TEN, seed, boundaries="stochastic", n_tasks=9)
        assert stream.n_tasks is not None
        assert all(len(stream.plan(t).classes) for t in range(stream.n_tasks))
        sizes.add(stream.n_tasks)
    assert min(sizes) < 9


def test_by_default_chunks_hide_the_boundaries():
    task = make("blurry", MANY).experience(0)
    assert len(task) == 16
    assert task.classes is None
    assert task.ends_task is None


@pytest.mark.parametrize(
    "bad",
    [
        {"n_tasks": 11},
        {"n_tasks": 0},
        {"disjoint": -1},
        {"disjoint": 101},
        {"blur": 101},
        {"blur": 2.5},
        {"chunk": 0},
        {"boundaries": "soft"},
    ],
    ids=str,
)
def test_blurry_refuses(bad: dict[str, object]):
    with pytest.raises(UsageError) as caught:
        make("blurry", TEN, **bad)
    assert "\n" not in str(caught.value)
