"""A package of others that declares metrics under an entry point, without installing anything."""

from __future__ import annotations

from pathlib import Path

import pytest

SOURCE = '''
import numpy as np

from clbench.metric import Counts, Metric, Value


def median_cell(counts: Counts) -> Value:
    """MED: the median accuracy of the cells at the end."""
    return Value(np.median(counts.correct[-1] / counts.size), len(counts.size))


def fails(counts: Counts) -> Value:
    """Divides by zero."""
    return Value(1 / 0, 1)


MEDIAN = Metric("median_cell", median_cell, "MED", since="2026-11-28")
BOTH = [MEDIAN, Metric("evaluations", lambda c: Value(len(c.correct), 1), "evals", unit="")]
FAILS = Metric("fails", fails, "fails")
TAKEN = Metric("forgetting", median_cell, "FM")
NO_METRIC = median_cell
'''


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Put the package on the path, with ``value`` as what its entry point names."""
    info = folder / "their_metrics-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "their_metrics.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-metrics\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[clbench.metrics]\nmine = {value}\n")
    monkeypatch.syspath_prepend(str(folder))
