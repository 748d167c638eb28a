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
from memory_runs import records_of

from clbench.configure.sweep import sweep

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
    """Run what has not been run of a grid; a run that does not end well counts as 0."""
    [words] = (c.words for c in cells_of(stream, arm, (), pools) if c.budget in (None, BUDGET))
    keys = [word.partition("=")[0] for word in arm.grid]
    grid = [tuple(f"{key}={point[key]}" for key in keys) for point in sweep(arm.grid)]
    trials = []
    for settings in grid:
        many = [(*words, *settings, f"seed={seed}", "evaluate_on=val") for seed in SEEDS]
        values = [
            accuracy(record) if record.status == "completed" else 0.0
            for record in records_of(many, out, pools)
        ]
        trials.append((settings, math.fsum(values) / len(values)))
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
