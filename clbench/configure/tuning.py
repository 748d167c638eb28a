"""The trial table that ``clbench tune`` writes: reading it, its hash, and the choice it leads to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clbench import space
from clbench.util.files import read_json
from clbench.util.hashing import sha256_of


def read(path: Path) -> dict[str, Any]:
    """A trial table.

    Raises:
        FileError: it cannot be read.
        ValueError: it is not of that form.
    """
    from clbench.configure.board_model import TuningForm
    from clbench.util import schema

    data: dict[str, Any] = read_json(path)
    wrong = schema.faults(TuningForm, data)
    if not wrong and not data["results"]:
        wrong = ["results is empty"]
    if wrong:
        raise ValueError("; ".join(wrong[:3]))
    return data


def table_sha256(table: Mapping[str, Any]) -> str:
    """The hash of a table's content."""
    return sha256_of(dict(table))


def mean(values: Sequence[float]) -> float:
    """Over the tuning seeds; 0 of none."""
    return math.fsum(values) / len(values) if values else 0.0


def best_trial(results: Sequence[Mapping[str, Any]]) -> int:
    """The number of the trial with the highest mean; of equal ones the earliest."""
    means = [mean(trial["values"]) for trial in results]
    return means.index(max(means))


def chosen(table: Mapping[str, Any]) -> dict[str, str]:
    """The settings that follow from a table: what was fixed, and those of the best trial."""
    best = table["results"][best_trial(table["results"])]
    return {**table["fixed"], **best["settings"]}


def draws(table: Mapping[str, Any], n_trials: int) -> list[dict[str, str]]:
    """The settings that a random search over the table's space tries, in their order.

    Raises:
        ValueError: the space is malformed.
    """
    spaces = {name: space.from_dict(data) for name, data in table["space"].items()}
    key = table["board"]["sha256"] if table["board"] else ""
    return [space.drawn(spaces, key, trial) for trial in range(n_trials)]
