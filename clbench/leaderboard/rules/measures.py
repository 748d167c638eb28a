"""Rules M1, M2, B1, B2 and P1: measurements follow from the counts and are plausible."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from clbench.configure.board import Board
from clbench.engine.schedule import evaluations
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.rules.findings import (
    Check,
    Finding,
    error,
    place,
    review,
    run_place,
    warning,
)
from clbench.leaderboard.scores import score
from clbench.leaderboard.verification import is_ranked, verified_runs
from clbench.results import metrics
from clbench.results.online import n_learnt
from clbench.results.record import Record

TOLERANCE = 1e-9
SLACK = 0.005
"""Tolerated excess over the ceiling, beyond three of its standard deviations."""
CHEAP = 0.1
"""Share of naive's training cost; less cannot suffice to learn from every sample."""
FAR = 0.05
"""Excess over naive, beyond three of its standard deviations, that counts as large."""

PACE = 4
"""train_seconds is extrapolated from the timed experiences, at least one of three."""


def metrics_follow_from_counts(board: Board, entry: Entry) -> Iterator[Finding]:
    """M1: every metric and table follows from the counts."""
    for seed, record in entry.records.items():
        counts = record.to_counts()
        for name, metric in metrics.compute(counts).items():
            said = record.metrics.get(name, metric._asdict())  # it may lack a later metric
            if not (same(said["value"], metric.value) and said["n_terms"] == metric.n_terms):
                wrong = f"metrics.{name} is {said['value']}, but the counts give {metric.value}"
                yield error(
                    "M1", run_place(entry, seed), f"{wrong}: never edit a record; run it again"
                )
        tables: tuple[tuple[str, list[dict[str, Any]], list[Any]], ...] = (
            ("retention", record.retention, metrics.retention(counts)),
            ("frequency", record.frequency, metrics.frequency(counts)),
        )
        for name, rows, wanted in tables:
            if not _same_rows(rows, [row._asdict() for row in wanted]):
                wrong = f"{name} does not follow from the counts: never edit a record; run it again"
                yield error("M1", run_place(entry, seed), wrong)


def same(said: float | None, wanted: float | None) -> bool:
    """Whether two values are equal up to rounding, or both undefined."""
    if said is None or wanted is None:
        return said is wanted
    return abs(said - wanted) <= TOLERANCE


def _same_rows(rows: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    return len(rows) == len(wanted) and all(
        row.keys() == want.keys() and all(same(row[key], want[key]) for key in want)
        for row, want in zip(rows, wanted, strict=True)
    )


def evaluations_are_on_schedule(board: Board, entry: Entry) -> Iterator[Finding]:
    """M2: evaluated exactly before the first experience, whenever due, and at the end."""
    schedule = str(board.settings["eval_every"])
    for seed, record in entry.records.items():
        due = evaluations(schedule, record.stream["experiences"])
        found = tuple(record.counts["evaluated_after"])
        if record.status != "completed":
            due = due[: len(found)]  # it may have failed at any moment
        if found != due:
            wrong = f"evaluated_after is not eval_every={schedule}: run it again on the board"
            yield error("M2", run_place(entry, seed), wrong)


def tasks_are_whole(board: Board, entry: Entry) -> Iterator[Finding]:
    """M2: a completed run has learned every task to its end."""
    for seed, record in entry.records.items():
        ends, stream = record.tasks["end"], record.stream
        file = run_place(entry, seed)
        if ends and ends[-1] > stream["experiences"]:
            yield error("M2", file, "tasks.end goes beyond stream.experiences: run it again")
        if record.status != "completed":
            continue
        limits = [n for n in (stream["n_tasks"], record.config.get("max_tasks")) if n is not None]
        if (
            len(ends) != min(limits, default=len(ends))
            or not ends
            or ends[-1] != stream["experiences"]
        ):
            wrong = (
                f"has {len(ends)} of {min(limits, default=0)} tasks but says completed: run again"
            )
            yield error("M2", file, wrong)


def runs_have_one_shape(board: Board, entry: Entry) -> Iterator[Finding]:
    """M2: the world and the length of the stream do not depend on the seed."""
    done = [(s, r) for s, r in entry.records.items() if r.status == "completed"]
    for seed, record in done[1:]:
        if _shape(record) != _shape(done[0][1]):
            wrong = (
                f"has other cells, classes or tasks than seed {done[0][0]}: run both on the board"
            )
            yield error("M2", run_place(entry, seed), wrong)
        elif _sizes(record) != _sizes(done[0][1]):
            wrong = f"has test sets of other sizes than seed {done[0][0]}: the data may differ"
            yield warning("M2", run_place(entry, seed), wrong)


def _shape(record: Record) -> tuple[Any, ...]:
    """Properties equal for every seed (not the number of experiences, if tasks are cut)."""
    stream = record.stream
    return (
        len(record.counts["cells"]),
        len(record.tasks["end"]),
        stream["n_classes"],
        stream["n_tasks"],
        stream["task_ids"],
        stream["disjoint_classes"],
        stream.get("groups", False),
    )


def _sizes(record: Record) -> list[int]:
    return sorted(cell["size"] for cell in record.counts["cells"])


def failed_runs_are_told(board: Board, entry: Entry) -> Iterator[Finding]:
    """B1, M2: a run that did not complete scores 0; it is not dropped."""
    for seed, record in entry.records.items():
        if record.status != "completed":
            rule = "B1" if record.status == "budget_exceeded" else "M2"
            wrong = f"ended as {record.status}: it scores 0 on {board.primary}"
            yield warning(rule, run_place(entry, seed), wrong)


def budget_is_kept(board: Board, entry: Entry) -> Iterator[Finding]:
    """B1: no more samples and operations than the protocol allows."""
    limits = {"samples_delivered": board.budget.samples, "train_flops": board.budget.train_flops}
    uncounted: set[str] = set()
    again = verified_runs(board, entry)  # by which every call was counted
    for seed, record in entry.records.items():
        uncounted |= set(record.cost["flops_uncounted"])
        if record.cost.get("flops_ranked") is False and seed not in again:
            wrong = "no FLOPs rank: the counted experiences do not explain the updates of all"
            yield warning("B1", run_place(entry, seed), wrong)
        for name, limit in limits.items():
            if name == "train_flops" and record.cost.get("flops_ranked") is False:
                continue  # an estimate that does not hold; the verifier counts every call
            if limit is not None and record.cost[name] > limit and record.status == "completed":
                wrong = f"cost.{name} is {record.cost[name]}, the budget {limit}: train less"
                yield error("B1", run_place(entry, seed), wrong)
    if uncounted:
        names = ", ".join(sorted(uncounted)[:5])
        yield warning("B1", place(entry), f"no FLOPs rank: no formula covers {names}")


def costs_are_possible(board: Board, entry: Entry) -> Iterator[Finding]:
    """B2: every experience delivered a sample, samples add up, and the times are consistent."""
    for seed, record in entry.records.items():
        file, cost = run_place(entry, seed), record.cost
        if cost["samples_delivered"] < n_learnt(record):
            yield error("B2", file, "cost.samples_delivered is less than one for each experience")
        noted = (record.exposure or {}).get("samples") or [cost["samples_delivered"]]
        if record.status == "completed" and noted[-1] != cost["samples_delivered"]:
            yield error("B2", file, "exposure.samples does not end with cost.samples_delivered")
        started, finished = (_time(text) for text in (record.started, record.finished))
        elapsed = (finished - started).total_seconds()
        if elapsed < 0:
            yield error("B2", file, "finished is before started: never edit a record; run it again")
        rest = cost["predict_seconds"] + cost["harness_seconds"]
        train = (cost["train_seconds"] or 0.0) / PACE
        if elapsed >= 0 and max(rest, train) > elapsed + 1:  # stamps are cut to whole seconds
            wrong = f"cost tells of {rest + train:.1f} s between stamps {elapsed:.0f} s apart"
            yield error("B2", file, f"{wrong}: never edit a record; run it again")
        if cost["memory_bytes"] > cost["state_bytes"]:
            yield error("B2", file, "cost.memory_bytes exceeds state_bytes, which it is a part of")


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - both are UTC


def nothing_is_too_good(board: Board, entry: Entry) -> Iterator[Finding]:
    """P1: better than the ceiling, or good at almost no cost, and not reproduced yet."""
    if is_ranked(board, entry):
        return
    values = score(board, entry)
    mean = math.fsum(values.values()) / len(values)
    division = entry.meta.division if entry.meta else board.divisions[0]
    ceiling, naive = board.ceiling_of(division), board.naive
    if mean > ceiling.mean + 3 * ceiling.sd + SLACK:
        wrong = f"{board.primary} {mean:.4f} is above the ceiling of {ceiling.mean:.4f}"
        yield review("P1", place(entry), f"{wrong}: needs reproduction (clbench verify)")
    flops = [r.cost["train_flops"] for r in entry.records.values() if r.status == "completed"]
    cheap = flops and min(flops) < CHEAP * naive.train_flops
    if cheap and mean > naive.mean + 3 * naive.sd + FAR:
        wrong = (
            f"trains on {min(flops):.2g} operations, {naive.strategy} on {naive.train_flops:.2g}"
        )
        yield review("P1", place(entry), f"{wrong}: needs reproduction (clbench verify)")


RULES: tuple[Check, ...] = (
    metrics_follow_from_counts,  # M1
    evaluations_are_on_schedule,  # M2
    tasks_are_whole,
    runs_have_one_shape,
    failed_runs_are_told,  # B1, M2
    budget_is_kept,  # B1
    costs_are_possible,  # B2
    nothing_is_too_good,  # P1
)
