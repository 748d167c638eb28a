"""Tunes by the rules: on the board's tuning seeds, scored on ``val``; test is never read.

Methods that are tuned and scored on one stream look better than they are (Cha & Cho 2024, arXiv
2403.09066). The number of trials and a hash of the grid go into the records of later runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clbench.configure.board import Board, find_board
from clbench.configure.sweep import sweep
from clbench.engine.execute import Done, Options, record_of
from clbench.errors import ClbenchError, UsageError
from clbench.results.record import write_atomically
from clbench.sweeps.local import run_all
from clbench.util.hashing import sha256_of

MAX_TRIALS = 20
"""Largest number of trials per entry and board, also for reference entries."""


@dataclass(frozen=True)
class Trial:
    """One point of the grid."""

    settings: dict[str, str]
    values: tuple[float, ...]
    """The primary on each tuning seed; 0 where the run failed."""

    @property
    def mean(self) -> float:
        """Over the tuning seeds."""
        return math.fsum(self.values) / len(self.values)


Runner = Callable[[list[dict[str, Any]], Options], Iterator[Done]]
"""Runs a sweep: here (``run_all``), or on an engine."""


def tune(
    words: list[str],
    options: Options,
    tell: Callable[[str], None],
    runner: Runner = run_all,
) -> tuple[list[Trial], Path]:
    """Run the grid, write ``tuning.json``, and return the trials, best first, and its path.

    Args:
        words: ``key=value`` words: the board, the strategy and the grid.
        options: how to run them.
        tell: receives a line for each run.
        runner: what runs them.

    Raises:
        UsageError: no board, more than one strategy, no grid, or more trials than allowed.
    """
    given = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    for key in ("board", "strategy"):
        if key not in given:
            raise UsageError(f"{key}= is required")
    for key in ("seed", "evaluate_on", "tuned"):
        if key in given:
            raise UsageError(f"{key}= cannot be set: tuning uses the board's tuning seeds and val")
    board = find_board(given["board"])
    seeds = "seed=" + ",".join(map(str, board.tuning_seeds))
    points = sweep([*words, seeds, "evaluate_on=val"])
    if len({point["strategy"] for point in points}) > 1:
        raise UsageError("tune one strategy at a time")
    grid = [_settings(point) for point in points]
    distinct = {json.dumps(settings, sort_keys=True): settings for settings in grid}
    if len(distinct) > MAX_TRIALS:
        raise UsageError(f"{len(distinct)} trials: a board allows {MAX_TRIALS}")
    values: dict[str, list[float]] = {key: [] for key in distinct}
    for done in runner(points, options):
        record = record_of(done)
        tell(f"{done.folder}: {record.status}")
        if record.status == "interrupted":
            raise ClbenchError(
                "tuning was interrupted; continue it by the same command with --resume"
            )
        settings = {f"strategy.{k}": v for k, v in record.config["strategy"].items()}
        key = next(
            k
            for k, wanted in distinct.items()
            if all(_same(settings[name], text) for name, text in wanted.items())
        )
        value = record.metric(board.primary) if record.status == "completed" else None
        values[key].append(0.0 if value is None else value)
    # Of two spellings of one point only the first was run; the other is no trial.
    trials = [Trial(distinct[key], tuple(found)) for key, found in values.items() if found]
    trials.sort(key=lambda trial: -trial.mean)
    return trials, _write(board, str(points[0]["strategy"]), trials, options.out)


def _settings(point: dict[str, Any]) -> dict[str, str]:
    return {k: str(v) for k, v in point.items() if k.startswith("strategy.")}


def _same(value: Any, text: str) -> bool:
    """Whether a setting equals the typed text."""
    if isinstance(value, bool) or value is None:
        return {"null": None, "true": True, "false": False}.get(text.lower(), text) == value
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    if isinstance(value, list):
        return text.replace(" ", "") == json.dumps(value).replace(" ", "")
    return str(value) == text


def _write(board: Board, strategy: str, trials: list[Trial], out: Path) -> Path:
    name = Path(strategy).stem
    data = {
        "board": {"name": board.name, "sha256": board.sha256},
        "strategy": name,
        "primary": board.primary,
        "seeds": list(board.tuning_seeds),
        "trials": len(trials),
        "grid_sha256": sha256_of(sorted(json.dumps(t.settings, sort_keys=True) for t in trials)),
        "best": trials[0].settings,
        "results": [{"settings": t.settings, "values": list(t.values)} for t in trials],
    }
    path = out / "tuning" / f"{board.name}-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(data, indent=2) + "\n").encode())
    return path
