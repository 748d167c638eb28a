"""Settings of the strategies of ``memory_study.py``, chosen without a look at test data.

As ``clbench tune`` does on a board: every combination of a small grid is run on the boards' tuning
seeds, which the study does not use, learns from the training part alone and is scored on the
validation part. It is done once a stream, at one budget; what is best there is used at all budgets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from memory_grid import BUDGETS, Arm, Pools, Stream, accuracy, cells_of

from clbench.execute import Options, record_of, run_all
from clbench.sweep import sweep

SEEDS = (100, 101)
BUDGET = BUDGETS[2]


@dataclass(frozen=True)
class Choice:
    """What was tried for a strategy on a stream."""

    arm: Arm
    trials: tuple[tuple[tuple[str, ...], float], ...]
    """Words of each combination, and the mean world accuracy on validation data, in %."""

    @property
    def best(self) -> tuple[tuple[str, ...], float]:
        """The first of those with the highest mean."""
        return max(self.trials, key=lambda trial: trial[1])


def choose(stream: Stream, arm: Arm, out: Path, pools: Pools) -> Choice:
    """Run what has not been run of a grid; a run that does not end well counts as 0.

    Raises:
        SystemExit: it was interrupted.
    """
    [words] = (c.words for c in cells_of(stream, arm, (), pools) if c.budget in (None, BUDGET))
    keys = [word.partition("=")[0] for word in arm.grid]
    seeds = "seed=" + ",".join(map(str, SEEDS))
    points = sweep([*words, *arm.grid, seeds, "evaluate_on=val"])
    values: dict[tuple[str, ...], list[float]] = {}
    for done in run_all(points, Options(out, resume=True, quiet=True, tensorboard=False)):
        record = record_of(done)
        if record.status == "interrupted":
            raise SystemExit(130)
        settings = tuple(f"{key}={points[done.number][key]}" for key in keys)
        value = accuracy(record) if record.status == "completed" else 0.0
        values.setdefault(settings, []).append(value)
    trials = ((settings, math.fsum(v) / len(v)) for settings, v in values.items())
    return Choice(arm, tuple(trials))


def table(choices: list[Choice]) -> list[str]:
    """What was tried and chosen, for the page."""
    lines = [
        "| chosen on validation data | of | world accuracy there, % | worst tried |",
        "| --- | ---: | ---: | ---: |",
    ]
    for choice in choices:
        settings, value = choice.best
        words = " ".join(word.removeprefix("strategy.") for word in settings)
        worst = min(value for _, value in choice.trials)
        lines.append(
            f"| {choice.arm.name}: `{words}` | {len(choice.trials)} | {value:.1f} | {worst:.1f} |"
        )
    return lines
