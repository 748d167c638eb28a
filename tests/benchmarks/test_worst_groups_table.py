"""The table of worst groups: differences are paired by seed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.worst_group import table


def _records(worst: list[float], average: list[float]) -> list[Any]:
    values = [
        {"worst_group_accuracy": w, "world_accuracy": a}
        for w, a in zip(worst, average, strict=True)
    ]
    return [SimpleNamespace(metric=of.__getitem__) for of in values]


def test_differences_are_paired_by_seed():
    found = {
        "weights": _records([0.1, 0.9], [0.5, 0.7]),
        "fisher 1": _records([0.2, 1.0], [0.5, 0.7]),
        "flat 1": _records([0.0, 0.8], [0.4, 0.6]),
        "head": _records([0.5, 0.5], [0.6, 0.6]),
    }
    lines = table(found, dict.fromkeys(found, 0.01))
    cells = {
        c[0]: c[1:] for c in ([*map(str.strip, line.strip("| ").split("|"))] for line in lines)
    }
    assert cells["weights"][2:5] == ["–", "–", "–"]
    assert cells["fisher 1"][2:5] == ["10.0 ± 0.0", "0.0 ± 0.0", "20.0 ± 0.0"]
    assert cells["flat 1"][2:5] == ["-10.0 ± 0.0", "-10.0 ± 0.0", "–"]
    assert cells["head"][4] == "–"
    mean, half_width = map(float, cells["head"][2].split(" ± "))
    assert mean == 0
    # Two seeds that differ by .8: the Student-t quantile with one degree of freedom over the root of 2.
    assert half_width == pytest.approx(12.706 * 0.8 * 100 / 2, abs=0.1)
