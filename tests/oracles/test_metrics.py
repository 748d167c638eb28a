"""Every metric against counts over the raw predictions of single test samples, on random streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from small import CPU, go, record_of, run
from torch import Tensor

from clbench.data.pool import Arrays, TensorPool
from clbench.results import metrics
from clbench.results.metrics import UNDEFINED, Value
from clbench.strategy import Strategy
from clbench.stream import TaskData

EACH = 24
"""Random streams of each scenario."""
SCENARIOS = [
    "scole",
    "class_incremental",
    "task_incremental",
    "domain_incremental",
    "subgroup_shift",
    "repetition",
    "blurry",
]

GROUPS = {"worst_group_accuracy", "anytime_worst_group_accuracy"}
ONLINE = {"online_accuracy", "blind_accuracy", "online_window_accuracy", "next_window_accuracy"}
"""Of predictions before learning, which ``tests/engine/test_prequential.py`` holds to loops."""
NEVER = {
    "scole": GROUPS | ONLINE | {"forward_transfer"},
    "class_incremental": GROUPS | ONLINE | {"forward_transfer"},
    "task_incremental": GROUPS | ONLINE,
    "domain_incremental": GROUPS | ONLINE,
    "subgroup_shift": ONLINE
    | {"forward_transfer", "missing_accuracy", "unseen_accuracy"}
    | {"novel_accuracy", "harmonic_accuracy"},
    "repetition": GROUPS | ONLINE | {"forward_transfer"},
    "blurry": GROUPS | ONLINE | {"forward_transfer"},
}
"""What no stream of a scenario defines. Forward transfer needs a task that is told, or a domain that is
new to known classes."""


class Guesser(Strategy):
    """Learns nothing, guesses, and keeps what it was asked and what it said."""

    def __init__(self, info: Any, config: Any, build_model: Any) -> None:
        super().__init__(info, config, build_model)
        self.learnt = 0
        self.said: dict[int, list[tuple[bytes, int | None, list[float]]]] = {}

    def learn(self, task: TaskData) -> None:
        self.learnt += 1

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        scores = torch.rand(len(x), self.info.n_classes)
        told = [None] * len(x) if task_id is None else task_id.tolist()
        rows = zip((one.numpy().tobytes() for one in x), told, scores.tolist(), strict=True)
        self.said.setdefault(self.learnt, []).extend(rows)
        return scores


@dataclass(frozen=True)
class Answer:
    """One test sample's answer at one evaluation."""

    label: int
    domain: int
    task: int | None
    right: bool


def pool_of(rng: np.random.Generator, image: bool) -> TensorPool:
    """Samples that are all different, of classes of different sizes."""

    def split(most: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.repeat(np.arange(6), rng.integers(1, most, 6))
        shape = (len(y), 8, 8) if image else (len(y), 12)
        x = rng.integers(0, 256, shape).astype(np.uint8) if image else rng.normal(size=shape)
        return x if image else x.astype(np.float32), y

    return TensorPool(Arrays(*split(9), *split(6), 6, 1 / 255 if image else 1.0), CPU)


def words_of(scenario: str, rng: np.random.Generator, is_first: bool) -> list[str]:
    def one(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    words = [f"scenario={scenario}", "strategy=naive", f"eval_every={one(1, 1, 2, 3, 'log')}"]
    words += [f"seed={rng.integers(1000)}"]
    n, chunk = int(rng.integers(1, 8)), one("null", "null", 3, 7)
    if scenario == "scole":
        words += [
            f"scenario.n_classes={rng.integers(3, 7)}",
            f"scenario.classes_per_task={one(1, 2, 3)}",
        ]
    if scenario in ("class_incremental", "task_incremental", "blurry"):
        n = int(rng.integers(1, 7))
    if scenario == "blurry":
        words += [f"scenario.boundaries={one('fixed', 'stochastic')}", "scenario.blur=40"]
    if scenario == "repetition" and one(True, False):
        words += ["scenario.mode=sampling", "scenario.first_p=0.5", "scenario.samples=9"]
    elif scenario == "repetition":  # some classes have one sample
        n = one(2, 3, 6)
        words += [f"scenario.slots={6 // n}"]
    if scenario == "domain_incremental":
        n = 34 if is_first else n
    if scenario == "subgroup_shift":
        words += [f"scenario.n_attributes={one(2, 3)}", "scenario.shift=rotate"]
    if scenario != "task_incremental":
        words += [f"scenario.chunk={chunk}"]
    return [*words, f"scenario.n_tasks={n}"]


class Raw:
    """The metrics of a run, from the answers to single samples."""

    def __init__(self, run: Any, strategy: Guesser) -> None:
        self.stream, self.told = run.stream, run.stream.task_ids
        self.draws = [run.stream.draw(number) for number in range(strategy.learnt)]
        of = self._where(run.stream)
        self.answers = {
            after: [self._answer(of, *row) for row in rows] for after, rows in strategy.said.items()
        }
        tasks = [draw.task for draw in self.draws]
        self.plans = [run.stream.plan(t) for t in range(max(tasks) + 1)]
        self.parts: dict[tuple[int, int], list[Answer]] = {}
        self.ends = [
            max(i for i, s in enumerate(tasks) if s == t) + 1 for t in range(len(self.plans))
        ]
        self.times, self.last = sorted(self.answers), max(self.answers)
        self.measured = [t for t in range(len(self.ends)) if self.part(0, t)]
        self.follows = [min(e for e in self.times if e >= i) for i in range(1, self.last + 1)]
        """Of each experience, the next evaluation."""

    @staticmethod
    def _where(stream: Any) -> dict[bytes, tuple[int, int]]:
        """Label and domain of every test sample, by its bytes."""
        pool, found = stream.pool, {}
        index = np.flatnonzero(np.isin(pool.labels("test"), stream.labels))
        labels = [stream.labels.index(label) for label in pool.labels("test")[index]]
        for domain in range(1 if stream.n_domains == 1 else stream.n_domains):
            x = pool.gather("test", index)
            if stream.n_domains > 1:
                x = stream.transform.bound("test", index)(x, domain, torch.Generator())
            for one, label in zip(x, labels, strict=True):
                found[one.numpy().tobytes()] = (label, domain)
        assert len(found) == len(labels) * stream.n_domains
        return found

    def _answer(self, of: dict, sample: bytes, task: int | None, scores: list[float]) -> Answer:
        label, domain = of[sample]
        may = range(len(scores)) if task is None else self.stream.plan(task).classes
        return Answer(label, domain, task, max(may, key=scores.__getitem__) == label)

    def belongs(self, a: Answer, t: int) -> bool:
        plan = self.plans[t]
        if plan.domain not in (None, a.domain) or (self.told and a.task != t):
            return False
        return a.label in plan.classes

    def part(self, after: int, t: int) -> list[Answer]:
        """The answers on the task's own test samples."""
        if (after, t) not in self.parts:
            found = [a for a in self.answers[after] if self.belongs(a, t)]
            self.parts[after, t] = found
        return self.parts[after, t]

    def on(self, after: int, t: int) -> float:
        return share(self.part(after, t))

    def ended(self, after: int) -> list[int]:
        return [t for t in self.measured if self.ends[t] <= after]

    def over_experiences(self, value: Callable[[int], float | None]) -> Value:
        """The mean over experiences of the value at the next evaluation."""
        values = {e: value(e) for e in set(self.follows)}
        terms = [values[e] for e in self.follows if values[e] is not None]
        n = sum(v is not None for v in values.values())
        return Value(fmean(terms), n) if terms else UNDEFINED

    def worst(self, after: int) -> float:
        return min(share(part) for part in self.cells(after).values())

    def cells(self, after: int) -> dict[tuple[int, int, int | None], list[Answer]]:
        found: dict[tuple[int, int, int | None], list[Answer]] = {}
        for a in self.answers[after]:
            found.setdefault((a.label, a.domain, a.task), []).append(a)
        return found

    def compute(self) -> dict[str, Value]:
        last, final = self.last, self.answers[self.last]
        learnt = [t for t in self.ended(last) if self.ends[t] in self.answers]
        earlier = [t for t in learnt if self.ends[t] < last]
        since = {t: [e for e in self.times if self.ends[t] <= e < last] for t in earlier}
        n_cells, grouped = len(self.cells(last)), self.stream.groups
        return {
            "world_accuracy": Value(share(final), len(final)),
            "anytime_world_accuracy": self.over_experiences(lambda e: share(self.answers[e])),
            "average_accuracy": mean([self.on(last, t) for t in self.ended(last)]),
            "anytime_average_accuracy": self.over_experiences(
                lambda e: mean([self.on(e, t) for t in self.ended(e)]).value
            ),
            "learning_accuracy": mean([self.on(self.ends[t], t) for t in learnt]),
            "forgetting": mean(
                [max(self.on(e, t) for e in since[t]) - self.on(last, t) for t in earlier]
            ),
            "backward_transfer": mean(
                [self.on(last, t) - self.on(self.ends[t], t) for t in earlier]
            ),
            "forward_transfer": mean(self.forward()),
            "worst_cell_accuracy": Value(self.worst(last), n_cells),
            "worst_group_accuracy": Value(self.worst(last), n_cells) if grouped else UNDEFINED,
            "anytime_worst_group_accuracy": (
                self.over_experiences(self.worst) if grouped else UNDEFINED
            ),
            "average_incremental_accuracy": mean(self.stages()),
            **dict.fromkeys(ONLINE, UNDEFINED),
            "present_accuracy": mean(self.after_tasks(learnt, here=True)),
            "missing_accuracy": mean(self.after_tasks(learnt, here=False, before=True)),
            "unseen_accuracy": mean(self.after_tasks(learnt, here=False, before=False)),
            "a_auc": self.area(),
            **self.sessions(),
        }

    def sessions(self) -> dict[str, Value]:
        """Answers to test samples of the first task, and to those of tasks after it alone."""
        over = [t for t, end in enumerate(self.ends) if end <= self.last]
        parts: dict[str, list[Answer]] = {"base": [], "novel": []}
        for a in self.answers[self.last]:
            came = [t for t in over if self.belongs(a, t)]
            if came:
                parts["novel" if came[0] else "base"].append(a)
        found = {
            f"{kind}_accuracy": Value(share(part), len(part)) if part else UNDEFINED
            for kind, part in parts.items()
        }
        found |= {"harmonic_accuracy": UNDEFINED, "accuracy_drop": UNDEFINED}
        if all(parts.values()):
            b, n = (share(part) for part in parts.values())
            found["harmonic_accuracy"] = Value(2 * b * n / (b + n) if b + n else 0.0, 2)
        first = [a for a in self.answers.get(self.ends[0], []) if self.belongs(a, 0)]
        if len(over) > 1 and first:
            found["accuracy_drop"] = Value(share(first) - share(parts["base"] + parts["novel"]), 2)
        return found

    def stages(self) -> list[float]:
        """Right after each task, the share right of all test samples of the tasks so far."""
        found = []
        for t, end in enumerate(self.ends):
            seen = [
                a for a in self.answers.get(end, []) for s in range(t + 1) if self.belongs(a, s)
            ]
            seen = [*{id(a): a for a in seen}.values()]
            found += [share(seen)] if seen else []
        return found

    def after_tasks(self, learnt: list[int], here: bool, before: bool | None = None) -> list[float]:
        """After each task, the mean accuracy of the cells in it or not, met before or not."""
        found = []
        for t in learnt:
            cells = [
                share(part)
                for part in self.cells(self.ends[t]).values()
                if self.belongs(part[0], t) == here
                and before in (None, any(self.belongs(part[0], s) for s in range(t)))
            ]
            found += [fmean(cells)] if cells else []
        return found

    def area(self) -> Value:
        """At each sample delivered, the next evaluation's accuracy on what had come by then."""
        came: set[tuple[int, int | None, int]] = set()
        terms, evaluations, waiting = [], 0, 0
        for number, draw in enumerate(self.draws, 1):
            waiting += len(draw.index)
            came |= {(label, draw.plan.domain, draw.task) for label in draw.labels.tolist()}
            if number not in self.answers:
                continue
            seen = [a for a in self.answers[number] if self.has_come(a, came)]
            if seen:
                terms += [share(seen)] * waiting
                evaluations += 1
            waiting = 0
        return Value(fmean(terms), evaluations) if terms else UNDEFINED

    def has_come(self, a: Answer, came: set[tuple[int, int | None, int]]) -> bool:
        return any(
            label == a.label and domain in (None, a.domain) and (not self.told or task == a.task)
            for label, domain, task in came
        )

    def forward(self) -> list[float]:
        """Gains before learning, of tasks none of whose test samples belong to an earlier task."""
        gains = []
        for t in self.measured[1:] if 0 in self.measured else self.measured:
            met = any(self.belongs(a, s) for a in self.part(0, t) for s in range(t))
            known = {c for s in range(t) for c in self.plans[s].classes}
            can = self.told or known >= set(self.plans[t].classes)
            if can and not met and self.ends[t - 1] in self.answers:
                gains.append(self.on(self.ends[t - 1], t) - self.on(0, t))
        return gains

    def frequency(self) -> list[tuple[int, float, float, int]]:
        """Label, share of tasks, accuracy and size of each cell, in any order."""
        rows = []
        for (label, _, _), part in self.cells(self.last).items():
            came = sum(self.belongs(part[0], t) for t in range(len(self.ends)))
            rows.append((label, came / len(self.ends), share(part), len(part)))
        return sorted(rows)

    def retention(self) -> dict[int, list[float]]:
        """Accuracies of cells by the tasks since they came."""
        found: dict[int, list[float]] = {}
        for e in self.times:
            ended = [t for t, end in enumerate(self.ends) if end <= e]
            for part in self.cells(e).values():
                came = [t for t in ended if self.belongs(part[0], t)]
                if came:
                    found.setdefault(ended[-1] - came[-1], []).append(share(part))
        return found


def share(answers: list[Answer]) -> float:
    return sum(a.right for a in answers) / len(answers)


def mean(values: list[float]) -> Value:
    return Value(fmean(values), len(values)) if values else UNDEFINED


@pytest.mark.parametrize("scenario", NEVER)
def test_every_metric_is_the_count_over_single_samples(scenario: str):
    defined: set[str] = set()
    for number in range(EACH):
        rng = np.random.default_rng((number, len(scenario)))
        words = words_of(scenario, rng, is_first=number == 0)
        one = run(*words, on=pool_of(rng, image=scenario == "subgroup_shift"))
        strategy = Guesser(one.info(), one.config.strategy, None)
        record = record_of(one, *go(one, strategy))
        assert record.status == "completed", record.error
        raw = Raw(one, strategy)
        wanted = raw.compute()
        assert set(wanted) == set(metrics.table()) == set(record.metrics)
        for name, value in wanted.items():
            found = record.metrics[name]
            assert found["n_terms"] == value.n_terms, (words, name)
            assert found["value"] == pytest.approx(value.value, abs=1e-12), (words, name)
        defined |= {name for name, value in wanted.items() if value.value is not None}
        rows = [(f["label"], f["frequency"], f["accuracy"], f["n_terms"]) for f in record.frequency]
        np.testing.assert_allclose(sorted(rows), raw.frequency(), atol=1e-12)
        exact = raw.retention()
        for row in record.retention:
            terms = [a for s, part in exact.items() if row["since"] <= s <= row["to"] for a in part]
            assert (len(terms), fmean(terms)) == (row["n_terms"], pytest.approx(row["accuracy"]))
        assert sum(r["n_terms"] for r in record.retention) == sum(map(len, exact.values()))
    assert set(metrics.table()) - defined == NEVER[scenario]
