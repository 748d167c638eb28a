"""Assembles the record of a run from its ledger."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from clbench.configure.protocol import FIXED
from clbench.engine.build import Run
from clbench.engine.costs import costs, unranked
from clbench.engine.exposure import described
from clbench.engine.harness import Outcome
from clbench.engine.ledger import Ledger
from clbench.engine.settled import settled
from clbench.errors import Diverged
from clbench.metric import Counts
from clbench.plugins.blame import position
from clbench.results import metrics
from clbench.results.classes import kept_names
from clbench.results.record import SCHEMA, Record
from clbench.strategy import Strategy
from clbench.stream import Stream
from clbench.util.environment import code_version, environment


def assemble(
    run: Run,
    strategy: Strategy,
    outcome: Outcome,
    started: datetime,
    resolved: dict[str, dict[str, Any]] | None = None,
) -> Record:
    """Everything known about a run that has ended, with or without an error.

    Args:
        run: the run.
        strategy: as it has ended.
        outcome: how it ended.
        started: when.
        resolved: what open settings came to, found before the run; None: it is found now.
    """
    ledger, stream, protocol = outcome.ledger, run.stream, run.config.protocol
    cells = stream.cells
    sizes = _cell_sizes(run)
    tasks, views = _views(run, len(ledger.task_end))
    counts = {
        "evaluated_after": ledger.evaluated_after,
        "cells": [
            {"label": c.label, "domain": c.domain, "task_id": c.task_id, "size": n}
            for c, n in zip(cells, sizes, strict=True)
        ],
        "views": views,
        "correct": ledger.correct,
    }
    record = Record(
        schema=SCHEMA,
        status=outcome.status,
        error=_error(outcome.error, run),
        config=run.config.as_dict(),
        config_sha256=run.config_sha256,
        overrides=list(run.config.overrides),
        board=protocol.as_dict() if protocol else None,
        tuning=protocol.tuning if protocol else FIXED,
        declares={
            "pretrained": strategy.pretrained,
            "grows": strategy.grows,
            "resumable": strategy.resumable,
            **_seen(strategy, outcome),
        },
        sources=run.sources,
        source_sha256=run.source_sha256,
        pool_sha256=stream.pool.sha256,
        stream_sha256=ledger.stream_sha256,
        seed=run.config.common.seed,
        stream={
            "n_classes": stream.n_classes,
            "n_tasks": stream.n_tasks,
            "experiences": ledger.experiences,
            "task_ids": stream.task_ids,
            "disjoint_classes": stream.disjoint,
            "groups": stream.groups,
        },
        counts=counts,
        tasks={"view": tasks, "end": ledger.task_end},
        metrics={},
        retention=[],
        frequency=[],
        diagnostics=ledger.diagnostics,
        warnings=[*ledger.warnings, *filter(None, [unranked(ledger)])],
        cost=costs(ledger, strategy, stream.pool),
        predictions_sha256=ledger.predictions_sha256,
        environment=environment(run.device, run.config.common.threads),
        code=code_version(),
        started=_stamp(started),
        finished=_stamp(datetime.now(UTC)),
        run_sha256=run.run_sha256,
        plugin_sha256=run.plugin_sha256 or None,
        results_versions=run.versions,
        encoder=stream.pool.describe(),
        factors=outcome.factors.as_dict(ledger.factors) if outcome.factors else None,
        class_names=kept_names(_class_names(stream), stream.labels),
        online=_online(run, ledger),
        answers=ledger.answers or None,
        resolved=(settled(run, strategy) if resolved is None else resolved) or None,
        exposure=described(ledger.samples_at, ledger.first_seen, len(ledger.evaluated_after)),
    )
    return with_metrics(record, record.to_counts())


def _seen(strategy: Strategy, outcome: Outcome) -> dict[str, bool]:
    """Whether the strategy trained the network that it was given, where the run tells."""
    if outcome.status != "completed" or strategy.network_builds is None:
        return {}
    trained = strategy.network_builds.is_trained
    return {} if trained is None else {"trains_network": trained}


def _online(run: Run, ledger: Ledger) -> dict[str, Any] | None:
    common = run.config.common
    if not common.prequential:
        return None
    return ledger.online.for_record(common.prequential_window, common.prequential_ahead)


def _class_names(stream: Stream) -> tuple[str, ...]:
    """The names of the pool's labels; none where a class stands for other labels in each domain."""
    fixed = stream.labels_in is None and stream.relabel is None
    return stream.pool.class_names if fixed else ()


def with_metrics(record: Record, counts: Counts) -> Record:
    """Build the record with everything that follows from the counts."""
    from dataclasses import replace

    return replace(
        record,
        metrics={name: m._asdict() for name, m in metrics.compute(counts).items()},
        retention=[row._asdict() for row in metrics.retention(counts)],
        frequency=[row._asdict() for row in metrics.frequency(counts)],
    )


def _cell_sizes(run: Run) -> list[int]:
    stream = run.stream
    per_class = np.bincount(stream.pool.labels("test"), minlength=stream.pool.n_classes)
    return [int(per_class[stream.pool_label(cell.label, cell.domain)]) for cell in stream.cells]


def _views(run: Run, n_tasks: int) -> tuple[list[int], list[list[int]]]:
    """Each task's view by number (-1: none), and the distinct views as lists of cells."""
    known: dict[tuple[int, ...], int] = {}
    tasks = []
    for t in range(n_tasks):
        view = run.stream.view(t)
        tasks.append(-1 if view is None else known.setdefault(view, len(known)))
    return tasks, [list(view) for view in known]


def _error(error: BaseException | None, run: Run) -> dict[str, str] | None:
    """Type and first line of an error, with the file and line of the plug-in it is from; no path."""
    if error is None or isinstance(error, KeyboardInterrupt):
        return None
    if isinstance(error, Diverged):
        return {"type": "Diverged", "message": str(error)}
    line = (str(error).splitlines() or [""])[0]
    message = "".join(c if c.isprintable() else " " for c in line)
    found = position(error, run.config.plugins.values())
    where = f" ({found[0].path.name} line {found[1]})" if found is not None else ""
    return {"type": type(error).__name__, "message": _without_folders(message)[:500] + where}


def _without_folders(text: str) -> str:
    """Cut every path that leaves a folder to its last part, because records are published."""
    starts = r"(?:[A-Za-z]:[/\\]|/+(?!/)|~\w*[/\\]|(?:\.\.[/\\]+)+)"
    text = re.sub(rf"(?<![\w.:/\\]){starts}(?=\S)(?:[^\s'\"/\\]+[/\\]+)*", "", text)
    return re.sub(r"(?<![\w.])\.\.[/\\]+", "", text)


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
