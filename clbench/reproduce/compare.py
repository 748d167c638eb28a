"""Runs a reproduction, and holds what comes out beside what was published."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clbench.engine.execute import Done, Options
from clbench.errors import ClbenchError, UsageError
from clbench.metric import lookup
from clbench.nets.weights import describe
from clbench.reproduce.plan import Planned, plan, words
from clbench.reproduce.shelf import Reproduction
from clbench.results.record import Record
from clbench.sweeps.local import run_all
from clbench.util.atomic import write_atomically
from clbench.util.files import FileError, read_json


@dataclass
class Measured:
    """What the runs of one row gave."""

    row: str
    words: list[str]
    network: str = ""
    """The model that was run, with its settings."""
    values: dict[int, float] = field(default_factory=dict)
    """Percent by seed, of the runs that completed."""
    failed: list[str] = field(default_factory=list)
    """Why the others did not."""
    seconds: float = 0.0
    """Of all its runs: training, predicting, and all else."""


@dataclass(frozen=True)
class Compared:
    """One row: theirs, ours, and the verdict."""

    row: str
    theirs: float | None
    spread: float | None
    their_seeds: int | None
    ours: float | None
    """The mean over seeds."""
    sd: float | None
    """Standard deviation over seeds (n - 1); None for one seed."""
    seeds: int
    difference: float | None
    tolerance: float
    verdict: str
    """``inside``, ``miss``, ``small: not comparable``, ``reference``, ``failed``, ``not run``, or
    what is missing."""
    network: str
    failed: tuple[str, ...] = ()


def run(
    of: Reproduction,
    options: Options,
    only: Sequence[str],
    small: bool,
    tell: Callable[[Done], None],
) -> tuple[list[Measured], bool]:
    """Run the rows in their folders; finished runs are read, interrupted ones go on.

    Returns:
        what came out, row by row, and whether the runs were interrupted.

    Raises:
        UsageError: a run cannot be done as asked; none was started.
    """
    rows = plan(of, only, small)
    points: list[dict[str, Any]] = []
    users: list[list[tuple[Planned, int]]] = []
    numbers: dict[str, int] = {}
    for planned in rows:
        for seed, point in enumerate(planned.points()):
            key = repr(sorted(point.items(), key=lambda item: item[0]))
            if key not in numbers:  # rows that look at one run at several times share it
                numbers[key] = len(points)
                points.append(point)
                users.append([])
            users[numbers[key]].append((planned, seed))
    found = {p.row.name: Measured(p.row.name, list(p.words)) for p in rows}
    interrupted = False
    for done in run_all(points, options):
        tell(done)
        for planned, seed in users[done.number]:
            _take(found[planned.row.name], of, planned, seed, done)
        if done.record is not None and done.record.status == "interrupted":
            interrupted = True
            break
    for measured in found.values():
        measured.values = dict(sorted(measured.values.items()))
        measured.seconds = round(measured.seconds, 1)
    return list(found.values()), interrupted


def _take(into: Measured, of: Reproduction, planned: Planned, seed: int, done: Done) -> None:
    record = done.record
    if record is None or record.status != "completed":
        why = done.error if record is None else record.status
        into.failed.append(f"seed {seed}: {why}")
        return
    into.network = network(record)
    into.seconds += sum(
        record.cost[name] or 0.0 for name in ("train_seconds", "predict_seconds", "harness_seconds")
    )
    value = value_of(record, of.form.metric, planned.row.after)
    if value is None:
        into.failed.append(f"seed {seed}: {of.form.metric} is undefined")
    else:
        into.values[seed] = round(100 * value, 4)


def network(record: Record) -> str:
    """The network of a run, as ``mlp hidden=[400, 400] head=linear``; what is off is left out."""
    model = record.config["model"]
    return describe(model["name"], model).replace('"', "")


def value_of(record: Record, metric: str, after: int | None) -> float | None:
    """A metric at the end, or the world accuracy after ``after`` experiences; a share.

    Raises:
        ClbenchError: nothing was evaluated after that number of experiences.
    """
    if after is None:
        return record.metric(metric)
    counts = record.to_counts()
    at = int(lookup(counts.evaluated_after, _array(after))[0])
    if at < 0:
        raise ClbenchError(f"nothing was evaluated after {after} experiences: change eval_every")
    return float(counts.world_accuracy[at])


def _array(value: int) -> Any:
    import numpy as np

    return np.array([value])


def compare(of: Reproduction, measured: Sequence[Measured], small: bool) -> list[Compared]:
    """Every row of a reproduction, in its order, beside what was measured of it."""
    found = {m.row: m for m in measured}
    return [_compared(of, row.name, found, small) for row in of.form.rows]


def _compared(of: Reproduction, name: str, found: dict[str, Measured], small: bool) -> Compared:
    row = of.row(name)
    published, mine = row.published, found.get(name)
    values = [] if mine is None else _values(mine, found, row.over)
    ours = statistics.fmean(values) if values else None
    theirs = None if published is None else published.mean
    tolerance = of.form.tolerance if row.tolerance is None else row.tolerance
    difference = None if ours is None or theirs is None else ours - theirs
    failed = () if mine is None else tuple(mine.failed)
    if row.missing:
        verdict = row.missing
    elif ours is None:
        verdict = "failed" if failed else "not run"
    elif difference is None:
        verdict = "reference"
    elif small:
        verdict = "small: not comparable"
    else:
        verdict = "inside" if abs(difference) <= tolerance else "miss"
    return Compared(
        row=name,
        theirs=theirs,
        spread=None if published is None else published.spread,
        their_seeds=None if published is None else published.seeds,
        ours=ours,
        sd=statistics.stdev(values) if len(values) > 1 else None,
        seeds=len(values),
        difference=difference,
        tolerance=tolerance,
        verdict=verdict,
        network="" if mine is None else mine.network,
        failed=failed,
    )


def _values(mine: Measured, found: dict[str, Measured], over: str | None) -> list[float]:
    if over is None:
        return list(mine.values.values())
    below = found[over].values if over in found else {}
    return [100 * v / below[seed] for seed, v in mine.values.items() if below.get(seed)]


def results_path(folder: Path, name: str, small: bool) -> Path:
    """The file that holds what was measured of a reproduction."""
    return folder / f"{name}{'.small' if small else ''}.json"


def keep(folder: Path, name: str, small: bool, measured: Sequence[Measured]) -> Path:
    """Write what was measured, beside what the file has of other rows; returns its path."""
    path = results_path(folder, name, small)
    rows = {m.row: m for m in (load(path) if path.is_file() else [])}
    rows.update({m.row: m for m in measured if m.values or m.failed})
    path.parent.mkdir(parents=True, exist_ok=True)
    import json

    text = json.dumps([asdict(rows[name]) for name in sorted(rows)], indent=1)
    write_atomically(path, (text + "\n").encode())
    return path


def load(path: Path) -> list[Measured]:
    """What a file of results holds.

    Raises:
        UsageError: it is not one; it names the file.
    """
    try:
        data = read_json(path)
        found = [Measured(**{**row, "values": _by_seed(row["values"])}) for row in data]
    except FileError as error:
        raise UsageError(str(error)) from error
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: holds no results of clbench reproduce; remove it") from error
    return found


def _by_seed(values: dict[str, Any]) -> dict[int, float]:
    found = {int(seed): float(value) for seed, value in values.items()}
    if not all(math.isfinite(value) for value in found.values()):
        raise ValueError("a value is not finite")
    return found


def current(of: Reproduction, measured: Sequence[Measured], small: bool) -> list[Measured]:
    """Those of the results whose words are still the ones of their row."""
    rows = {row.name: row for row in of.form.rows}
    return [m for m in measured if m.row in rows and m.words == words(of, rows[m.row], small)]
