"""Runs an entry again: equal bits on the same platform, a stated tolerance elsewhere.

A run is interrupted at random tasks and rebuilt from its state_dict in a new process each time, so a
strategy with state anywhere else cannot pass.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from clbench.configure.board import Board
from clbench.configure.config import resolve_point
from clbench.data.pool import Pool
from clbench.engine.assemble import assemble
from clbench.engine.build import prepare
from clbench.engine.execute import Options, execute
from clbench.engine.harness import run_stream, start_ledger
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.reproduce.isolate import isolated
from clbench.leaderboard.reproduce.job import job_of, source_of
from clbench.leaderboard.shared import check_sources
from clbench.plugins.registry import Plugin
from clbench.plugins.registry import stand_in as plain
from clbench.plugins.source import settings as settings_of
from clbench.results.record import Record
from clbench.util.processes import fresh_process

PLATFORM = ("torch", "system", "machine", "cpu_capability", "threads", "device", "accelerator")
"""If these agree, bits must agree; otherwise the tolerance applies."""
TOLERANCE = 0.005
"""Tolerance of the primary on another platform; at least twice the sd over seeds."""
PREFIX_TOLERANCE = 0.02
"""Tolerance of the mean world accuracy over the first rows, with --prefix."""
OTHER_DATA = (
    "the data differ here: download them again or, for generated data, install the libraries that "
    "the board's description names"
)
CUTS = 2


@dataclass(frozen=True)
class Reproduction:
    """The result of running one seed again."""

    seed: int
    passed: bool
    bits: bool
    """Whether every prediction was the same."""
    message: str


def point_of(board: Board, entry: Entry, record: Record) -> dict[str, Any]:
    """The configuration of a record, with the entry's own source."""
    if entry.meta is None:
        raise UsageError(f"{entry.folder}: entry.yaml cannot be read (clbench validate)")
    check_sources(entry)
    settings = {f"strategy.{k}": v for k, v in record.config["strategy"].items() if k != "name"}
    point = {
        "board": str(board.folder),
        "division": entry.meta.division,
        "strategy": str(entry.source),
        "seed": record.seed,
        "device": record.environment["device"],
        **settings,
    }
    if entry.meta.division == "open":
        point["model"] = str(entry.source_of("model"))
        model = record.config["model"]
        point |= {f"model.{k}": v for k, v in model.items() if k != "name"}
    return point


def reproduce(
    board: Board,
    entry: Entry,
    seeds: Sequence[int],
    *,
    prefix: int | None = None,
    isolate: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Reproduction]:
    """Run seeds of an entry again and compare them with its records.

    Args:
        board: the entry's board.
        entry: the entry; its source is run, which may be untrusted (see ``isolate``).
        seeds: the seeds to run.
        prefix: run only this many experiences and compare the record's first rows.
        isolate: run the strategy in a process without network, home folder or labels.
        tell: called with lines of progress.

    Raises:
        UsageError: the entry has no record of a seed, or its source does not load.
    """
    found = []
    for seed in seeds:
        if seed not in entry.records:
            raise UsageError(f"{entry.folder}: has no record of seed {seed}")
        record = entry.records[seed]
        tell(f"{entry.slug} seed {seed}: running again")
        point = point_of(board, entry, record)
        if prefix is not None:
            # With hidden boundaries experiences are not tasks; take enough tasks to hold them.
            point["max_tasks"] = prefix
        again = isolated_run(point) if isolate else _rebuilt(point, record)
        if again.status not in ("completed", "diverged", "budget_exceeded"):
            reason = again.error["message"] if again.error else again.status
            found.append(Reproduction(seed, False, False, f"the run ended in an error: {reason}"))
        elif again.pool_sha256 != record.pool_sha256:
            found.append(Reproduction(seed, False, False, OTHER_DATA))
        elif prefix is None:
            found.append(compare(board, entry, record, again))
        else:
            found.append(compare_rows(record, again))
    return found


def _rebuilt(point: dict[str, Any], record: Record) -> Record:
    """Run in parts, interrupted at random tasks, each part in a new process."""
    n_tasks = len(record.tasks["end"])
    last = min(n_tasks, point.get("max_tasks") or n_tasks)
    wanted = CUTS if "max_tasks" not in point else 1
    cuts = sorted(random.SystemRandom().sample(range(1, last), min(wanted, max(0, last - 1))))
    if not record.declares["resumable"]:
        cuts = []
    done = None
    with tempfile.TemporaryDirectory() as out:
        options = Options(Path(out), resume=True, quiet=True, curve=False)
        for cut in [*cuts, last]:
            with fresh_process() as pool:
                done = pool.submit(_work, {**point, "max_tasks": cut}, options).result()
            if done.status != "completed":
                break
    assert done is not None
    return done


def _work(point: dict[str, Any], options: Options) -> Record:
    return execute(prepare(resolve_point(point)), options)[0]


def isolated_run(point: dict[str, Any], pools: dict[Any, Pool] | None = None) -> Record:
    """Run an entry's strategy in a separate process without interruption; labels stay here.

    Nothing of the entry is imported here: a built-in strategy and model replace its own while the
    stream is made. Its operations and bytes are not counted; only its predictions are compared.

    Raises:
        ClbenchError: the process failed.
    """
    own = {k.partition(".")[2]: v for k, v in point.items() if k.startswith("strategy.")}
    for setting in settings_of(Path(point["strategy"])):
        if "Path" in setting.type and own.get(setting.name) is not None:
            raise UsageError(
                f"strategy.{setting.name} is a file, which an isolated process cannot read: verify "
                "without --isolate, in the folder that holds it"
            )
    stand_in = {k: v for k, v in point.items() if not k.startswith("strategy.")}
    stand_in["strategy"] = plain("strategy").word
    models = {k.partition(".")[2]: v for k, v in point.items() if k.startswith("model.")}
    if "model" in point:  # the open division
        stand_in = {k: v for k, v in stand_in.items() if not k.startswith("model.")}
        stand_in["model"] = "linear"
    run = prepare(resolve_point(stand_in), pools)
    job = job_of(run)
    strategy = Plugin("strategy", "strategy", Path(point["strategy"]))
    job = replace(job, strategy=source_of(strategy, own))
    if "model" in point:
        job = replace(job, model=source_of(Plugin("model", "model", Path(point["model"])), models))
    started = datetime.now(UTC)
    with isolated(run, job=job) as remote:
        outcome = run_stream(run, remote, start_ledger(run))
        if outcome.status == "error" and isinstance(outcome.error, ClbenchError):
            raise outcome.error
        return assemble(run, remote, outcome, started)


def compare(board: Board, entry: Entry, record: Record, again: Record) -> Reproduction:
    """Compare a whole record with a whole re-run."""
    if again.predictions_sha256 == record.predictions_sha256:
        if not _same_counts(record, again):
            return Reproduction(record.seed, False, False, "the same answers, but other counts")
        return Reproduction(record.seed, True, True, "bit for bit the same answers")
    a, b = record.metric(board.primary) or 0.0, again.metric(board.primary) or 0.0
    difference = abs(a - b)
    if same_platform(record, again):
        return Reproduction(
            record.seed,
            False,
            False,
            f"different predictions on the same platform ({board.primary} {a:.4f}, now {b:.4f})",
        )
    allowed = max(
        TOLERANCE, 2 * _sd([r.metric(board.primary) or 0.0 for r in entry.records.values()])
    )
    return Reproduction(
        record.seed,
        difference <= allowed,
        False,
        f"another platform: {board.primary} {a:.4f}, now {b:.4f}; allowed {allowed:.4f}",
    )


def compare_rows(record: Record, again: Record) -> Reproduction:
    """Compare the first rows of a record with a re-run of the first experiences."""
    before, now = record.to_counts(), again.to_counts()
    common, i, j = np.intersect1d(before.evaluated_after, now.evaluated_after, return_indices=True)
    if len(common) < 2:
        return Reproduction(record.seed, False, False, "no evaluation in common: a longer --prefix")
    if np.array_equal(before.correct[i], now.correct[j]):
        return Reproduction(record.seed, True, True, f"the first {len(common)} rows are the same")
    difference = float(np.abs(before.world_accuracy[i] - now.world_accuracy[j]).mean())
    if same_platform(record, again):
        return Reproduction(record.seed, False, False, "different predictions on the same platform")
    return Reproduction(
        record.seed,
        difference <= PREFIX_TOLERANCE,
        False,
        f"another platform: world accuracy differs by {difference:.4f} on average over "
        f"{len(common)} rows; allowed {PREFIX_TOLERANCE}",
    )


def _same_counts(a: Record, b: Record) -> bool:
    """Whether the counts agree; scores are computed from them, and no hash covers them."""
    before, now = a.to_counts(), b.to_counts()
    same = np.array_equal(before.evaluated_after, now.evaluated_after)
    return same and np.array_equal(before.correct, now.correct) and a.online == b.online


def same_platform(a: Record, b: Record) -> bool:
    """Whether the platforms agree, so that bits must."""
    return all(a.environment[key] == b.environment[key] for key in PLATFORM)


def _sd(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
