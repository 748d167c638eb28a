"""Runs trials of an entry's table again, isolated as its seeds are (``clbench verify --tuning``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clbench.configure import tuning
from clbench.configure.board import Board
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.reproduce.rerun import point_of, same_platform
from clbench.leaderboard.retune import TABLE, Rerun, report, rerun_trials
from clbench.leaderboard.tune import value_of
from clbench.results.record import Record

Isolated = Callable[[dict[str, Any]], Record]
"""Runs a configuration in processes of its own."""


def check_trials(
    board: Board, entry: Entry, run: Isolated
) -> tuple[dict[str, Any] | None, list[str], str]:
    """Run the best trial and two others again.

    Args:
        board: the board.
        entry: the entry, which may have no table where its settings are the defaults.
        run: runs one configuration.

    Returns:
        What goes into the ledger (None without a table), lines for the user, and why it is refused;
        empty where it is not. On another platform than the entry's, values may differ.
    """
    record = next(iter(entry.records.values()))
    if not (entry.folder / TABLE).is_file():
        return None, ["tuning: has no trial table: its settings are the defaults"], ""
    base = point_of(board, entry, record)
    table = tuning.read(entry.folder / TABLE)
    is_same = True

    def value(words: list[str]) -> float:
        nonlocal is_same
        try:
            found = run(trial_point(board, base, table, words))
        except UsageError:
            raise
        except ClbenchError:  # the strategy failed, as a trial may; its value is 0
            return 0.0
        is_same = is_same and same_platform(record.environment, found.environment)
        return value_of(board, board.primary, found)

    reruns = rerun_trials(board, entry, value)
    lines = [f"tuning: {line}" for line in report(reruns)]
    equal = all(one.equal for one in reruns)
    found = {
        "table_sha256": tuning.table_sha256(table),
        "trials": [one.number for one in reruns],
        "equal": equal,
    }
    if equal or not is_same:
        return found, lines, ""
    return None, [], f"tuning: {report([_first_that_differs(reruns)])[0]}"


def _first_that_differs(reruns: list[Rerun]) -> Rerun:
    return next(one for one in reruns if not one.equal)


def trial_point(
    board: Board, base: dict[str, Any], table: dict[str, Any], words: list[str]
) -> dict[str, Any]:
    """The configuration of one run of a trial, which ``rerun`` takes; nothing of it is imported.

    What was searched is the trial's, or the strategy's default where the trial does not set it; all
    else is that of the entry's runs.

    Args:
        board: the board.
        base: the configuration of one of the entry's runs, all settings resolved.
        table: the trial table.
        words: of the run, as ``tune.trial_words`` gives them.
    """
    given: dict[str, Any] = {w.partition("=")[0]: w.partition("=")[2] for w in words}
    training = {f"strategy.{name}": value for name, value in board.training.items()}
    searched = {*table["space"]}
    kept = {k: v for k, v in base.items() if k not in searched}
    again = {k: v for k, v in training.items() if k in searched and k in base}
    fixed: dict[str, Any] = {
        k: base[k] for k in ("board", "division", "strategy", "device", "model") if k in base
    }
    return {**kept, **again, **given, **fixed}
