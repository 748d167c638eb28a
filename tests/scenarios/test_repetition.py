"""CIR: streams against a construction from the recipe, and what holds of any of them."""

from __future__ import annotations

import itertools
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
IMMEDIATE = {"mode": "sampling", "first_p": 1.0}


def rng_of(seed: int, *key: int) -> np.random.Generator:
    """The generator of the stream axis, whose number is 0."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, *key)))


def slot_recipe(labels: np.ndarray, n: int, k: int, seed: int) -> list[list[int]]:
    """The samples of each task: a table of slots, emptied from the last task on."""
    rng = rng_of(seed)
    n_classes = int(labels.max()) + 1
    slots = {c: n * k // n_classes for c in range(n_classes)}
    for c in list(rng.permutation(n_classes))[: n * k % n_classes]:
        slots[int(c)] += 1
    held: dict[int, list[list[int]]] = {}
    for c in range(n_classes):
        mine = [i for i, label in enumerate(labels) if label == c]
        shuffled = [mine[i] for i in rng.permutation(len(mine))]
        size, longer = divmod(len(mine), slots[c])
        held[c] = []
        for number in range(slots[c]):
            width = size + (number < longer)
            held[c].append(shuffled[:width])
            shuffled = shuffled[width:]
        assert shuffled == []
    tasks = []
    for _ in range(n):
        left = [c for c in range(n_classes) if held[c]]
        if len(left) >= k:
            drawn = [int(c) for c in rng.choice(left, k, replace=False)]
            tasks.append([i for c in drawn for i in held[c].pop()])
            continue
        tasks.append([])
        for _ in range(k):
            c = int(rng.choice([c for c in range(n_classes) if held[c]]))
            tasks[-1] += held[c].pop()
    assert not any(held.values())
    return tasks[::-1]


def sampling_recipe(
    labels: np.ndarray, n: int, s: int, first: np.ndarray, again: np.ndarray, seed: int
) -> list[list[int]]:
    """The samples of each task, from the two distributions as vectors."""
    rng = rng_of(seed)
    n_classes = int(labels.max()) + 1
    came = rng.choice(n, n_classes, p=first)
    p = rng.permutation(again)
    chance = rng.random((n, n_classes))
    rows = []
    for t in range(n):
        row = [c for c in range(n_classes) if t == came[c] or (t > came[c] and chance[t, c] < p[c])]
        rows += [row] if row else []
    tasks = []
    for t, row in enumerate(rows):
        rng = rng_of(seed, t)
        lucky = set(rng.permutation(len(row))[: s % len(row)].tolist())
        task: list[int] = []
        for place, c in enumerate(row):
            mine = np.flatnonzero(labels == c)
            size = s // len(row) + (place in lucky)
            task += mine[rng.permutation(len(mine))[:size]].tolist()
        tasks.append(task)
    return tasks


def assert_delivers(stream: Stream, tasks: list[list[int]]) -> None:
    assert stream.n_tasks == len(tasks)
    for t, task in enumerate(tasks):
        assert sorted(stream.draw(t).index.tolist()) == sorted(task), t
        of = stream.pool.labels("train")
        assert stream.plan(t).classes == tuple(sorted({int(of[i]) for i in task}))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 10), st.integers(0, 999))
def test_slots_are_those_of_the_recipe(n: int, k: int, seed: int):
    if n * k < 10:
        with pytest.raises(UsageError, match="each class a slot"):
            make("repetition", MANY, seed, n_tasks=n, slots=k)
        return
    stream = make("repetition", MANY, seed, n_tasks=n, slots=k)
    assert_delivers(stream, slot_recipe(MANY.labels("train"), n, k, seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 10), st.integers(0, 999))
def test_slots_hold_every_sample_once_and_each_class_equally_often(n: int, k: int, seed: int):
    if n * k < 10:
        return
    stream = make("repetition", MANY, seed, n_tasks=n, slots=k)
    delivered = np.concatenate([stream.draw(t).index for t in range(n)])
    assert sorted(delivered) == list(range(400))
    found = [stream.plan(t) for t in range(n)]
    assert all(len(task.classes) <= k for task in found)
    # A class has 40 samples in n k // 10 slots or one more, which differ by one sample at most.
    few, many = n * k // 10, -(-n * k // 10)
    sizes = [np.bincount(MANY.labels("train")[task.index]) for task in found]
    each = np.concatenate([s[s > 0] for s, task in zip(sizes, found, strict=True)])
    assert each.min() >= 40 // many
    assert all(
        s.max() <= -(-40 // few)
        for s, task in zip(sizes, found, strict=True)
        if len(task.classes) == k
    )


def test_one_slot_for_each_class_is_class_incremental():
    stream = make("repetition", n_tasks=5, slots=2)
    assert stream.disjoint
    assert sorted(c for task in classes(stream, 5) for c in task) == list(range(10))
    assert not make("repetition", n_tasks=6, slots=2).disjoint


def test_a_class_comes_twice_in_a_task_only_where_too_few_are_left():
    """The tasks are filled from the last on, so such tasks stand at the beginning."""
    short = 0
    scenario = scenario_of("repetition", n_tasks=12, slots=6)
    for seed in range(60):
        found = classes(scenario.stream(MANY, seed), 12)
        full = [len(task) == 6 for task in found]
        assert full == sorted(full), "once full, always full"
        short += not full[0]
    assert 0 < short < 60


FIRST = {
    "uniform": ({}, lambda t: 1 + 0 * t),
    "geometric": ({"first_p": 0.3}, lambda t: 0.3 * 0.7**t),
    "poisson": ({"first_mu": 2.5}, lambda t: stats.poisson.pmf(t, 2.5)),
    "zipf": ({"first_exponent": 1.5}, lambda t: 1 / (t + 1) ** 1.5),
}
AGAIN = {
    "fixed": ({"recurrence_p": 0.4}, lambda n: [0.4] * n),
    "zipf": ({"recurrence_exponent": 0.7}, lambda n: [1 / i**0.7 for i in range(1, n + 1)]),
    "dual": (
        {"frac": 0.35, "p_low": 0.05, "p_high": 0.9},
        lambda n: [0.05] * int(0.35 * n) + [0.9] * (n - int(0.35 * n)),
    ),
}


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("s", [1, 7, 37, 600])
def test_samples_are_those_of_the_recipe(first: str, again: str, s: int):
    for seed in range(5):
        stream = make(
            "repetition",
            MANY,
            seed,
            mode="sampling",
            n_tasks=15,
            samples=s,
            first_occurrence=first,
            recurrence=again,
            **FIRST[first][0],
            **AGAIN[again][0],
        )
        weight = np.asarray(FIRST[first][1](np.arange(15)), dtype=float)
        tasks = sampling_recipe(
            MANY.labels("train"),
            15,
            s,
            weight / weight.sum(),
            np.array(AGAIN[again][1](10)),
            seed,
        )
        assert_delivers(stream, tasks)


def test_recurrence_has_its_probability():
    found = np.zeros((2, 2))
    for seed in range(30):
        stream = make(
            "repetition", MANY, seed, **IMMEDIATE, n_tasks=101, recurrence="dual", p_high=0.8
        )
        assert stream.n_tasks == 101
        share = stream.plan.table[1:].mean(0)  # type: ignore[attr-defined]
        assert stream.plan.table[0].all()  # type: ignore[attr-defined]
        assert sorted(np.round(share / 0.8).tolist()) == [0] * 3 + [1] * 7
        found += [[share[share < 0.4].sum(), 3], [share[share > 0.4].sum(), 7]]
    assert found[:, 0] / found[:, 1] == pytest.approx([0.1, 0.8], abs=0.02)


def test_frac_is_rounded_down_and_not_by_float_error():
    rare = [0.29, 0.3, 0.7, 0.9]
    for frac in rare:
        on = pool(n_classes=100, n_train=2, n_test=1)
        stream = make(
            "repetition",
            on,
            **IMMEDIATE,
            n_tasks=2,
            recurrence="dual",
            frac=frac,
            p_low=0.0,
        )
        assert stream.plan.table[1].sum() == 100 - round(100 * frac)  # type: ignore[attr-defined]


def test_samples_come_again_between_tasks_and_never_within_one():
    stream = make("repetition", MANY, **IMMEDIATE, n_tasks=30, samples=90, recurrence_p=0.5)
    draws = [stream.draw(t).index for t in range(30)]
    assert all(len(set(d)) == len(d) for d in draws)
    assert max(Counter(np.concatenate(draws).tolist()).values()) > 3
    sizes = {len(d) for d in draws}
    assert max(sizes) == 90
    for t, d in enumerate(draws):
        k = len(stream.plan(t).classes)
        assert len(d) == min(90, 40 * k)
        counts = np.bincount(MANY.labels("train")[d])
        counts = counts[counts > 0]
        assert np.ptp(counts) <= 1


# SCoLE is a special case.


@pytest.mark.parametrize("k", [2, 3])
def test_given_their_number_the_classes_of_sampling_are_those_that_scole_draws(k: int):
    """All classes come at once and recur with one probability: k of them are a uniform k-subset."""
    t = 8000
    settings_ = {**IMMEDIATE, "n_tasks": t, "samples": 10, "recurrence_p": 0.25}
    table = make("repetition", **settings_).plan.table[1:]  # type: ignore[attr-defined]
    drawn = Counter(tuple(np.flatnonzero(row)) for row in table if row.sum() == k)
    theirs = Counter(classes(make("scole", n_tasks=t, classes_per_task=k), t))
    every = list(itertools.combinations(range(10), k))
    ours = [drawn[s] for s in every]
    assert sum(ours) == sum(drawn.values())
    assert stats.chi2_contingency([ours, [theirs[s] for s in every]]).pvalue > 1e-3
    assert stats.chisquare(ours).pvalue > 1e-3


def test_with_certain_recurrence_every_task_is_scoles_of_all_classes():
    """Exactly: the same classes, and with as many samples as there are, the same samples."""
    ours = make("repetition", **IMMEDIATE, n_tasks=6, samples=30, recurrence_p=1.0)
    theirs = make("scole", n_tasks=6, classes_per_task=10)
    assert classes(ours, 6) == classes(theirs, 6) == [tuple(range(10))] * 6
    for t in range(6):
        assert sorted(ours.draw(t).keys) == sorted(theirs.draw(t).keys)


def test_the_last_tasks_of_slots_are_drawn_as_scoles():
    """While every class has a slot left, k classes are a uniform draw: here the last three tasks."""
    pairs: list[Counter[tuple[int, ...]]] = [Counter(), Counter()]
    ours, theirs = scenario_of("repetition", n_tasks=20, slots=2), scenario_of("scole")
    for seed in range(1500):
        pairs[0].update(classes(ours.stream(MANY, seed), 20)[-3:])
        pairs[1].update(classes(theirs.stream(MANY, seed), 3))
    every = list(itertools.combinations(range(10), 2))
    counts = [[one[pair] for pair in every] for one in pairs]
    assert stats.chi2_contingency(counts).pvalue > 1e-3
    assert stats.chisquare(counts[0]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"slots": 11, "n_tasks": 2}, "scenario.slots=11: the data have 10 classes"),
        ({"n_tasks": 3}, "each class a slot"),
        ({"n_tasks": 20}, "which has 3 samples"),
        ({"samples": 5}, "scenario.samples=5 needs scenario.mode=sampling"),
        ({"mode": "sampling", "slots": 2}, "scenario.slots=2 needs scenario.mode=slot"),
        ({"mode": "sampling", "first_mu": 2.0}, "needs scenario.first_occurrence=poisson"),
        ({"mode": "sampling", "frac": 0.5}, "needs scenario.recurrence=dual"),
        ({"mode": "sampling", "first_p": 0.0}, "scenario.first_p"),
        ({"mode": "sampling", "recurrence_p": 1.5}, "scenario.recurrence_p"),
        ({"mode": "sampling", "samples": 0}, "scenario.samples"),
        ({"n_tasks": None}, "scenario.n_tasks"),
    ],
    ids=str,
)
def test_repetition_refuses(bad: dict[str, object], told: str):
    with pytest.raises(UsageError) as caught:
        make("repetition", TEN, **bad)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_far_parameters_stay_probabilities():
    for more in (
        {"first_occurrence": "poisson", "first_mu": 1e6},
        {"first_occurrence": "poisson", "first_mu": 1e-6},
        {"first_occurrence": "zipf", "first_exponent": 500.0},
        {"first_p": 1.0},
        {"first_p": 1e-12},
    ):
        stream = make("repetition", MANY, mode="sampling", n_tasks=40, **more)
        assert stream.n_tasks is not None
        assert stream.n_tasks >= 1
