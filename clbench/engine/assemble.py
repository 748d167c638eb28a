"""Assembles the record of a run from its ledger."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from clbench.configure.protocol import FIXED
from clbench.data.pool import Pool
from clbench.engine.build import Run
from clbench.engine.harness import Outcome
from clbench.engine.ledger import Ledger
from clbench.errors import Diverged
from clbench.metric import Counts
from clbench.nets.flops import integrate
from clbench.results import metrics
from clbench.results.record import SCHEMA, Record
from clbench.strategy import Strategy
from clbench.util.environment import code_version, environment, peak_rss_bytes


def assemble(run: Run, strategy: Strategy, outcome: Outcome, started: datetime) -> Record:
    """Everything known about a run that has ended, with or without an error."""
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
        warnings=ledger.warnings,
        cost=_cost(ledger, strategy, stream.pool),
        predictions_sha256=ledger.predictions_sha256,
        environment=environment(run.device, run.config.common.threads),
        code=code_version(),
        started=_stamp(started),
        finished=_stamp(datetime.now(UTC)),
        run_sha256=run.run_sha256,
        results_versions=run.versions,
        encoder=stream.pool.describe(),
        factors=outcome.factors.as_dict(ledger.factors) if outcome.factors else None,
    )
    return with_metrics(record, record.to_counts())


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


def _cost(ledger: Ledger, strategy: Strategy, pool: Pool) -> dict[str, Any]:
    frozen = sum(b.nbytes for b in strategy.buffers() if getattr(b, "frozen", False))
    # Counting operations slows an experience down, so counted ones are assumed to take as long as
    # the others. If all were counted, training was not timed.
    timed = ledger.timed_samples > 0
    seconds = ledger.train_seconds * ledger.samples / ledger.timed_samples if timed else None
    return {
        "train_seconds": None if seconds is None else round(seconds, 4),
        "predict_seconds": round(ledger.predict_seconds, 4),
        "harness_seconds": round(ledger.harness_seconds, 4),
        "train_flops": round(integrate(ledger.train_rate, ledger.samples)),
        "predict_flops": round(integrate(ledger.predict_rate, len(ledger.evaluated_after))),
        "flops_method": "whole calls counted at experiences 1, 2, 4, 8, ..., interpolated",
        "flops_uncounted": ledger.uncounted,
        "samples_delivered": ledger.samples,
        "updates": ledger.updates,
        "state_bytes": ledger.state_bytes,
        "state_bytes_method": strategy.state_bytes_method,
        "memory_bytes": ledger.memory_bytes,
        "frozen_bytes": frozen + pool.frozen_bytes,
        "peak_rss_bytes": peak_rss_bytes(),
        **_encoding(ledger, pool),
    }


def _encoding(ledger: Ledger, pool: Pool) -> dict[str, Any]:
    """The costs of the frozen encoder, apart from learning; empty without an encoder.

    Every sample of the pool counts once, whether this run encoded it or found it in the cache, and
    so does every transformed sample that was encoded for this run.
    """
    encoder = pool.describe()
    if encoder is None:
        return {}
    samples = encoder["samples"] + ledger.encoded
    return {
        "encode_flops": samples * encoder["flops_per_sample"],
        "encode_samples": samples,
        "encode_seconds": encoder["seconds"],
    }


def _error(error: BaseException | None, run: Run) -> dict[str, str] | None:
    """Type and first line of an error, with the line in the user's file; no path."""
    if error is None or isinstance(error, KeyboardInterrupt):
        return None
    if isinstance(error, Diverged):
        return {"type": "Diverged", "message": str(error)}
    line = (str(error).splitlines() or [""])[0]
    message = "".join(c if c.isprintable() else " " for c in line)
    plugin = run.config.plugins["strategy"].path
    trace, where = error.__traceback__, ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(plugin):
            where = f" ({plugin.name} line {trace.tb_lineno})"
        trace = trace.tb_next
    return {"type": type(error).__name__, "message": _without_folders(message)[:500] + where}


def _without_folders(text: str) -> str:
    """Cut every absolute path in a text to its last part, because records are published."""
    return re.sub(r"(?<![\w.:/\\])(?:[A-Za-z]:[/\\]|/)(?=\S)(?:[^\s'\"/\\]+[/\\])*", "", text)


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
