"""Runs trials of an entry's table again: the best one and two at random (``verify --tuning``)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from clbench.configure import tuning
from clbench.configure.board import Board
from clbench.errors import UsageError
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.tune import trial_words
from clbench.util.files import FileError

N_RANDOM = 2
"""Trials that are run again beside the best."""
TABLE = "tuning.json"
"""The trial table in an entry's folder."""

Value = Callable[[list[str]], float]
"""Runs the words of one run and gives ``tune.value_of`` of its record."""


class Rerun(NamedTuple):
    """One trial that was run again."""

    number: int
    """Of the trial, from 0."""
    best: bool
    told: tuple[float, ...]
    """The primary on each tuning seed, as the table has it."""
    found: tuple[float, ...]

    @property
    def equal(self) -> bool:
        """Whether every value is the table's, up to the rounding of a file."""
        return all(abs(a - b) <= 1e-12 for a, b in zip(self.told, self.found, strict=True))


def rerun_trials(
    board: Board, entry: Entry, value: Value, chance: random.Random | None = None
) -> list[Rerun]:
    """Run the best trial of an entry's table and two others again.

    Args:
        board: the board.
        entry: the entry; its strategy's source is run.
        value: runs one run; the caller decides where and how isolated.
        chance: picks the two others; None: unpredictably.

    Raises:
        UsageError: the entry has no trial table, or it is malformed.
    """
    path = entry.folder / TABLE
    try:
        table = tuning.read(path)
    except (FileError, ValueError) as error:
        raise UsageError(f"{path}: is no trial table of clbench tune: {error}") from error
    chance = chance or random.SystemRandom()
    best = tuning.best_trial(table["results"])
    others = [number for number in range(len(table["results"])) if number != best]
    picked = [best, *sorted(chance.sample(others, min(N_RANDOM, len(others))))]
    division = entry.meta.division if entry.meta else board.divisions[0]
    return [
        Rerun(
            number,
            number == best,
            tuple(table["results"][number]["values"]),
            tuple(
                value(words)
                for words in trial_words(board, str(entry.source), division, table, number)
            ),
        )
        for number in picked
    ]


def report(reruns: list[Rerun]) -> list[str]:
    """One line for each trial that was run again."""
    lines = []
    for one in reruns:
        what = "best trial" if one.best else "trial"
        told, found = tuning.mean(one.told), tuning.mean(one.found)
        said = "equal" if one.equal else f"differs: the table has {told:.6f}, this run {found:.6f}"
        lines.append(f"{what} {one.number}: {said}")
    return lines
