"""Runs of ``scale.py`` with many views, and with many cells, on random data that they write first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np


def data(path: Path, n_classes: int, train: int, test: int, shape: tuple[int, ...]) -> None:
    """Random images: ``train`` and ``test`` of each class."""
    rng = np.random.default_rng(0)
    means = rng.integers(0, 200, (n_classes, *shape))
    splits = {}
    for split, each in (("train", train), ("test", test)):
        y = np.repeat(np.arange(n_classes), each)
        noise = rng.integers(0, 56, (len(y), *shape))
        splits |= {f"{split}_x": (means[y] + noise).astype(np.uint8), f"{split}_y": y}
    np.savez(path, **splits)


def views(out: Path) -> dict[str, Any]:
    """10,000 tasks of 5 of 100 classes, the world evaluated after each: views that are all distinct."""
    data(out / "classes.npz", 100, train=8, test=4, shape=(8, 8))
    return _run(
        out,
        ("scenario=scole", "scenario.n_tasks=10000", "scenario.classes_per_task=5"),
        ("model=mlp", f"data.path={out / 'classes.npz'}"),
    )


def world(out: Path) -> dict[str, Any]:
    """1,000 classes in each of 100 domains, of which 32 are evaluated: 32,000 cells."""
    data(out / "classes.npz", 1000, train=2, test=1, shape=(8, 8))
    return _run(
        out,
        ("scenario=domain_incremental", "scenario.n_tasks=100", "eval_every=log"),
        ("model=mlp", f"data.path={out / 'classes.npz'}"),
    )


def _run(out: Path, *words: tuple[str, ...]) -> dict[str, Any]:
    """A run, and the metrics of its record once more."""
    import clbench
    from benchmarks.scale import peak, resident, results
    from clbench.results import metrics
    from clbench.results.record import Record
    from clbench.tracker import Progress

    at_first: list[int] = []

    def report(progress: Progress) -> None:
        if progress.experiences == 1 and not at_first:
            at_first.append(resident())

    every = [word for group in words for word in group]
    start = time.process_time()
    folder = out / "runs"
    record = clbench.run(
        *("data=npz", "strategy=naive", "threads=1", *every), out=folder, quiet=True, report=report
    )
    assert isinstance(record, Record)
    run_seconds, grown, highest = time.process_time() - start, resident() - at_first[0], peak()
    start = time.process_time()
    metrics.compute(record.to_counts())
    seconds = time.process_time() - start
    counts = record.counts
    return {
        "status": record.status,
        "evaluations": len(counts["evaluated_after"]),
        "views": len(counts["views"]),
        "cells": len(counts["cells"]),
        "seconds": run_seconds,
        "first": at_first[0],
        "grown": grown,
        "peak": highest,
        "metrics_seconds": seconds,
        "bytes": {p.name.split(".")[0]: p.stat().st_size for p in folder.rglob("*") if p.is_file()},
        "results": results(folder),
    }


MEASURED = {"views": views, "world": world}
