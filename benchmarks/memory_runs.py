"""Runs of ``memory_study.py``: a record each, with no curve and no copy of what ran beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from memory_grid import Pools, one

from clbench.engine.assemble import assemble
from clbench.engine.build import Run
from clbench.engine.harness import run_stream, start_ledger
from clbench.results.record import Record


def records_of(many: Sequence[Sequence[str]], out: Path, pools: Pools) -> Iterator[Record]:
    """Of each run, given by its words, in their order: read where it has been done, else run.

    Raises:
        SystemExit: it was interrupted.
    """
    for words in many:
        run = one(words, pools)
        path = run.folder(out) / "record.json"
        if path.exists():
            yield Record.load(path)
            continue
        record = _run(run)
        if record.status == "interrupted":
            raise SystemExit(130)
        path.parent.mkdir(parents=True, exist_ok=True)
        record.save(path)
        yield record


def _run(run: Run) -> Record:
    strategy, started = run.strategy(), datetime.now(UTC)
    return assemble(run, strategy, run_stream(run, strategy, start_ledger(run)), started)
