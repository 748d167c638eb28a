"""Metrics against loops that are obviously right."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_metrics import counts

from clbench import metric
from clbench.metric import Online
from clbench.results import metrics
from clbench.results.metrics import UNDEFINED, Counts, Value


@st.composite
def any_counts(draw: st.DrawFn) -> Counts:
    """Chunked streams, sparse evaluations, unprobed domains, recurring classes, ended or not."""
    n_cells = draw(st.integers(1, 4))
    views = draw(
        st.lists(
            st.sets(st.integers(0, n_cells - 1), min_size=1).map(sorted),
            max_size=4,
            unique_by=tuple,
        )
    )
    n_tasks = draw(st.integers(0, 6)) if views else 0
    chunks = [draw(st.integers(1, 3)) for _ in range(n_tasks)]
    ends = np.cumsum(chunks).tolist()
    total = (ends[-1] if ends else 0) + draw(st.integers(0, 2))
    evaluated = sorted(draw(st.sets(st.integers(0, total), max_size=total + 1)))
    size = [draw(st.integers(1, 5)) for _ in range(n_cells)]
    correct = [[draw(st.integers(0, n)) for n in size] for _ in evaluated]
    widths = [draw(st.integers(0, 9)) for _ in evaluated]
    exposed = draw(st.booleans())
    found = counts(
        evaluated,
        correct,
        views,
        [draw(st.integers(-1, len(views) - 1)) for _ in range(n_tasks)],
        ends,
        size=size,
        label=[draw(st.integers(0, 2)) for _ in range(n_cells)],
        task_ids=draw(st.booleans()),
        groups=draw(st.booleans()),
        samples=np.cumsum(widths).tolist() if exposed else None,
        first=[draw(st.integers(-1, total)) or 1 for _ in size] if exposed else None,
    )
    return dataclasses.replace(found, online=draw(st.none() | any_online(total)))


@st.composite
def any_online(draw: st.DrawFn, n: int) -> Online:
    """Predictions of n experiences, some of them without a labelled sample."""
    size = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    distance = draw(st.integers(0, 3))

    def right(of: list[int]) -> np.ndarray:
        return np.array([draw(st.integers(0, k)) for k in of], dtype=np.int64)

    return Online(
        size=np.array(size, dtype=np.int64),
        correct=right(size),
        blind=right(size),
        ahead=right(size[distance:] if distance else []),
        distance=distance,
        window=draw(st.integers(1, 4)),
    )


class Oracle:
    """Every metric from its definition, one number at a time."""

    def __init__(self, c: Counts) -> None:
        self.c = c
        self.times = [int(t) for t in c.evaluated_after]
        self.ends = [int(t) for t in c.task_end]
        self.last = len(self.times) - 1

    def cells(self, t: int) -> list[int] | None:
        view = int(self.c.view_of_task[t])
        return None if view < 0 else [int(i) for i in np.flatnonzero(self.c.views[view])]

    def accuracy(self, e: int, cells: list[int]) -> float:
        right = sum(int(self.c.correct[e, i]) for i in cells)
        return right / sum(int(self.c.size[i]) for i in cells)

    def on_task(self, e: int, t: int) -> float:
        cells = self.cells(t)
        assert cells is not None
        return self.accuracy(e, cells)

    def tasks_at(self, e: int) -> list[int]:
        """Tasks with a view that had ended at evaluation e."""
        return [
            t
            for t, end in enumerate(self.ends)
            if end <= self.times[e] and self.cells(t) is not None
        ]

    def right_after(self, t: int) -> int | None:
        return self.times.index(self.ends[t]) if self.ends[t] in self.times else None

    def weights(self) -> list[int]:
        return [b - a for a, b in zip([0, *self.times], self.times, strict=False)]

    @staticmethod
    def mean(values: list[float]) -> Value:
        return Value(sum(values) / len(values), len(values)) if values else UNDEFINED

    @staticmethod
    def weighted(pairs: list[tuple[float, int]]) -> Value:
        pairs = [(v, w) for v, w in pairs if w > 0]
        if not pairs:
            return UNDEFINED
        return Value(sum(v * w for v, w in pairs) / sum(w for _, w in pairs), len(pairs))

    def compute(self) -> dict[str, Value]:
        if not self.times:
            return dict.fromkeys(metrics.table(), UNDEFINED)
        c, last = self.c, self.last
        world = list(range(len(c.size)))
        world_curve = [self.accuracy(e, world) for e in range(last + 1)]
        averages = [
            (sum(self.on_task(e, t) for t in tasks) / len(tasks), w)
            for e, w in enumerate(self.weights())
            if (tasks := self.tasks_at(e))
        ]
        learnt = {t: a for t in self.tasks_at(last) if (a := self.right_after(t)) is not None}
        earlier = {t: a for t, a in learnt.items() if a < last}
        return {
            "world_accuracy": Value(world_curve[-1], sum(int(n) for n in c.size)),
            "anytime_world_accuracy": self.weighted(
                list(zip(world_curve, self.weights(), strict=True))
            ),
            "average_accuracy": self.mean([self.on_task(last, t) for t in self.tasks_at(last)]),
            "anytime_average_accuracy": self.weighted(averages),
            "learning_accuracy": self.mean([self.on_task(a, t) for t, a in learnt.items()]),
            "forgetting": self.mean(
                [
                    max(self.on_task(e, t) for e in range(a, last)) - self.on_task(last, t)
                    for t, a in earlier.items()
                ]
            ),
            "backward_transfer": self.mean(
                [self.on_task(last, t) - self.on_task(a, t) for t, a in earlier.items()]
            ),
            "forward_transfer": self.forward_transfer(),
            "worst_cell_accuracy": Value(self.worst(last), len(world)),
            "worst_group_accuracy": Value(self.worst(last), len(world)) if c.groups else UNDEFINED,
            "anytime_worst_group_accuracy": self.weighted(
                [(self.worst(e), w) for e, w in enumerate(self.weights()) if c.groups]
            ),
            "average_incremental_accuracy": self.stages(),
            **self.online(),
            **{f"{kind}_accuracy": value for kind, value in self.presence(learnt).items()},
            "a_auc": self.area(),
            **self.sessions(),
        }

    def sessions(self) -> dict[str, Value]:
        """Cells of the first task, and those that came later, each sample counted by itself."""
        ended = [t for t, end in enumerate(self.ends) if end <= self.times[self.last]]
        base = sorted(set(self.cells(0) or [])) if ended else []
        later = sorted({i for t in ended for i in self.cells(t) or []} - set(base))
        found = {"harmonic_accuracy": UNDEFINED, "accuracy_drop": UNDEFINED}
        for name, cells in (("base_accuracy", base), ("novel_accuracy", later)):
            n = sum(int(self.c.size[i]) for i in cells)
            found[name] = Value(self.accuracy(self.last, cells), n) if cells else UNDEFINED
        b, n = found["base_accuracy"].value, found["novel_accuracy"].value
        if b is not None and n is not None:
            found["harmonic_accuracy"] = Value(2 / (1 / b + 1 / n) if b and n else 0.0, 2)
        at = self.right_after(0) if len(ended) > 1 else None
        if at is not None and base:
            drop = self.accuracy(at, base) - self.accuracy(self.last, base + later)
            found["accuracy_drop"] = Value(drop, 2)
        return found

    def stages(self) -> Value:
        """The accuracy on all cells so far, after each task that was followed by an evaluation."""
        found = []
        for t in range(len(self.ends)):
            seen = sorted({i for s in range(t + 1) for i in self.cells(s) or []})
            at = self.right_after(t)
            if at is not None and seen:
                found.append(self.accuracy(at, seen))
        return self.mean(found)

    def online(self) -> dict[str, Value]:
        names = ("online", "blind", "online_window", "next_window")
        found = {f"{name}_accuracy": UNDEFINED for name in names}
        o = self.c.online
        if o is None:
            return found
        n = len(o.size)
        last = range(max(0, n - o.window), n)
        terms = {
            "online": [(int(o.correct[t]), int(o.size[t])) for t in range(n)],
            "blind": [(int(o.blind[t]), int(o.size[t])) for t in range(n)],
            "online_window": [(int(o.correct[t]), int(o.size[t])) for t in last],
            "next_window": [
                (int(o.ahead[t]), int(o.size[t + o.distance]))
                for t in range(n - o.distance)
                if o.distance
            ],
        }
        for name, pairs in terms.items():
            total = sum(size for _, size in pairs)
            if total:
                found[f"{name}_accuracy"] = Value(sum(a for a, _ in pairs) / total, total)
        return found

    def presence(self, learnt: dict[int, int]) -> dict[str, Value]:
        """Accuracy of each cell right after each task, by what had come of it."""
        found: dict[str, list[float]] = {"present": [], "missing": [], "unseen": []}
        for t, e in learnt.items():
            before = {i for s in range(t) for i in self.cells(s) or []}
            parts: dict[str, list[float]] = {kind: [] for kind in found}
            for i in range(len(self.c.size)):
                kind = "missing" if i in before else "unseen"
                kind = "present" if i in (self.cells(t) or []) else kind
                parts[kind].append(self.accuracy(e, [i]))
            for kind, values in parts.items():
                if values:
                    found[kind].append(sum(values) / len(values))
        return {kind: self.mean(values) for kind, values in found.items()}

    def area(self) -> Value:
        if self.c.samples is None or self.c.first is None:
            return UNDEFINED
        rectangles, before = [], 0
        for e, samples in enumerate(self.c.samples.tolist()):
            seen = [i for i, at in enumerate(self.c.first) if 0 <= at <= self.times[e]]
            if seen:
                rectangles.append((self.accuracy(e, seen), samples - before))
            before = samples
        return self.weighted(rectangles)

    def worst(self, e: int) -> float:
        return min(self.accuracy(e, [i]) for i in range(len(self.c.size)))

    def forward_transfer(self) -> Value:
        c, gains = self.c, []
        if self.times[0] != 0:
            return UNDEFINED
        for t in self.tasks_at(self.last):
            if t == 0 or self.ends[t - 1] not in self.times:
                continue
            cells = self.cells(t)
            assert cells is not None
            before = {i for s in range(t) for i in self.cells(s) or []}
            classes_before = {int(c.label[i]) for i in before}
            known = {int(c.label[i]) for i in cells} <= classes_before
            if not before & set(cells) and (known or c.task_ids):
                at = self.times.index(self.ends[t - 1])
                gains.append(self.on_task(at, t) - self.on_task(0, t))
        return self.mean(gains)

    def retention(self) -> dict[int, list[float]]:
        """Accuracies by the exact number of tasks since a cell was last seen."""
        found: dict[int, list[float]] = {}
        for e, now in enumerate(self.times):
            ended = [t for t, end in enumerate(self.ends) if end <= now]
            for cell in range(len(self.c.size)):
                seen = [t for t in ended if cell in (self.cells(t) or [])]
                if seen:
                    since = ended[-1] - seen[-1]
                    found.setdefault(since, []).append(self.accuracy(e, [cell]))
        return found


def assert_same(found: Value, wanted: Value) -> None:
    assert found.n_terms == wanted.n_terms
    assert (found.value is None) == (wanted.value is None)
    if wanted.value is not None:
        assert found.value == pytest.approx(wanted.value, abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(any_counts())
def test_every_metric_is_that_of_the_loops(c: Counts):
    found, wanted = metrics.compute(c), Oracle(c).compute()
    assert set(found) == set(wanted)
    for name in wanted:
        assert_same(found[name], wanted[name])


@settings(max_examples=200, deadline=None)
@given(any_counts())
def test_retention_is_that_of_the_loops(c: Counts):
    exact = Oracle(c).retention()
    for row in metrics.retention(c):
        inside = [
            a for since, values in exact.items() if row.since <= since <= row.to for a in values
        ]
        assert row.n_terms == len(inside)
        assert row.accuracy == pytest.approx(np.mean(inside))
    assert sum(row.n_terms for row in metrics.retention(c)) == sum(map(len, exact.values()))


@settings(max_examples=200, deadline=None)
@given(any_counts())
def test_frequency_is_that_of_the_loops(c: Counts):
    oracle = Oracle(c)
    rows = metrics.frequency(c)
    assert len(rows) == (len(c.size) if oracle.times else 0)
    for cell, row in enumerate(rows):
        n = sum(cell in (oracle.cells(t) or []) for t in range(len(c.task_end)))
        assert row.frequency == pytest.approx(n / max(1, len(c.task_end)))
        assert row.accuracy == pytest.approx(oracle.accuracy(oracle.last, [cell]))


@settings(max_examples=100, deadline=None)
@given(any_counts())
def test_values_are_none_or_finite_and_in_range(c: Counts):
    for name, (value, n_terms) in metrics.compute(c).items():
        assert (value is None) == (n_terms == 0), name
        if value is not None:
            changes = ("forgetting", "backward_transfer", "forward_transfer", "accuracy_drop")
            low = -1 if name in changes else 0
            assert low <= value <= 1


@settings(max_examples=200, deadline=None)
@given(any_counts(), st.integers(1, 12))
def test_metrics_in_blocks_have_the_bits_of_the_whole_matrix(c: Counts, block: int):
    pairs = [(e, v) for e in range(len(c.correct)) for v in range(len(c.views))]
    at = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    with pytest.MonkeyPatch.context() as patch:
        whole = metrics.compute(c)
        patch.setattr(metric, "BLOCK", block)
        assert metrics.compute(c) == whole
        assert np.array_equal(c.accuracy_on(*at), c.view_accuracy[tuple(at)])
        for backwards in (False, True):
            found = sorted(c.view_accuracy_by_block(backwards), key=lambda pair: pair[0])
            rows = np.concatenate([np.empty((0, len(c.views))), *(rows for _, rows in found)])
            assert np.array_equal(rows, c.view_accuracy)


def test_anytime_accuracy_and_forgetting_are_those_of_the_whole_matrix(
    monkeypatch: pytest.MonkeyPatch,
):
    rng, n = np.random.default_rng(0), 60
    views = [[a, b] for a in range(12) for b in range(a)][:n]
    size = rng.integers(1, 50, 12)
    correct = [[int(rng.integers(0, s + 1)) for s in size] for _ in range(n + 1)]
    tasks = [int(v) for v in rng.integers(0, len(views), n)]
    c = counts([*range(n + 1)], correct, views, tasks, [*range(1, n + 1)], size=size.tolist())
    came = np.zeros((n + 1, len(views)))
    np.add.at(came, (c.right_after, c.view_of_task), 1)
    came = came.cumsum(0)
    mean = (came * c.view_accuracy).sum(1) / np.maximum(came.sum(1), 1)
    best = np.maximum.accumulate(c.view_accuracy[-2::-1], axis=0)[::-1]
    lost = best[c.right_after[:-1], tasks[:-1]] - c.view_accuracy[-1, tasks[:-1]]
    for block in (1, 100, metric.BLOCK):
        monkeypatch.setattr(metric, "BLOCK", block)
        assert metrics.anytime_average_accuracy(c) == Value(float(mean[1:].sum() / n), n)
        assert metrics.forgetting(c) == Value(float(lost.mean()), n - 1)


def test_metrics_of_many_views_need_less_memory_than_their_matrix():
    n = 3000
    views = [[a, b, a + b + 1] for a in range(80) for b in range(a)][:n]
    c = counts(
        [*range(n + 1)],
        [[e % 10] * 200 for e in range(n + 1)],
        views,
        [*range(n)],
        [*range(1, n + 1)],
    )
    tracemalloc.start()
    try:
        metrics.compute(c)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < n * n * 8
