"""What boards cost in compute: drafts from short timed runs, frozen boards from their entries."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clbench.configure.board import Board, Tuning, load_board
from clbench.configure.board_model import Draft
from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.engine.build import prepare
from clbench.engine.execute import Options, execute
from clbench.engine.schedule import evaluations
from clbench.errors import ClbenchError
from clbench.leaderboard.entry import iter_entries
from clbench.leaderboard.freeze import read_draft, words_of
from clbench.results.record import Record

PARTS = 10
"""A run is timed on a tenth of its tasks and on a fifth of them."""
COUNTED = 1.4
"""How many times as long a verified run takes as an ordinary one, since every operation is counted."""
REBUILT = 0.06
"""Seconds for a process that is built from a state.

Of 176 entries on nine boards the verification took 0.7 to 1.6 times what these two say, all together
1.01 times (CPU seconds by ``benchmarks/board_cost.py``; torch with CUDA, which makes forks dearer).
"""
TRIALS_AGAIN = 3
"""Of an entry's table: the best and two others."""


@dataclass(frozen=True)
class Cost:
    """What one board costs, in seconds of one core."""

    name: str
    seconds: float
    """Of one run, the mean over the strategies that were timed, or over the entries."""
    n_entries: int
    n_seeds: int
    n_trials: int
    """Runs of tuning of one entry: trials times tuning seeds."""
    share: float
    """Of the stream that a trial learns."""
    n_states: int
    """Of one run: states that predictions were made from, each by a new process of the verifier."""
    n_tuning_seeds: int = 0
    """Runs of one trial."""

    @property
    def entered(self) -> float:
        """All entries' runs, all seeds."""
        return self.n_entries * self.n_seeds * self.seconds

    @property
    def tuned(self) -> float:
        """Tuning of all entries."""
        return self.n_entries * self.n_trials * self.share * self.seconds

    @property
    def verified(self) -> float:
        """All entries run again isolated: all seeds, one on fresh data, some trials of the table."""
        again = COUNTED * self.seconds + REBUILT * self.n_states
        trials = TRIALS_AGAIN * self.n_tuning_seeds * self.share if self.n_trials else 0.0
        return self.n_entries * (self.n_seeds + 1 + trials) * again

    @property
    def total(self) -> float:
        """All of it."""
        return self.entered + self.tuned + self.verified


def budget(
    folders: Sequence[Path],
    n_entries: int,
    strategies: Sequence[str],
    tell: Callable[[str], None],
) -> list[Cost]:
    """Estimate the cost of boards: a draft's before it is run, a frozen board's from what was run.

    Args:
        folders: folders with a ``draft.yaml`` or a ``board.yaml``.
        n_entries: entries of each draft.
        strategies: what is timed of a draft; none: its naive.
        tell: receives a line for every strategy that was timed.

    Raises:
        UsageError: a draft is malformed.
        ClbenchError: a run failed.
    """
    found = []
    for folder in folders:
        if (folder / "board.yaml").exists():
            found.append(spent(load_board(folder)))
            continue
        draft = read_draft(folder / "draft.yaml")
        each = [seconds(draft, name, tell) for name in strategies or [draft.anchors.naive]]
        n_tasks, n_states = each[0][1:]
        cost = Cost(
            name=folder.resolve().name,
            seconds=sum(one for one, *_ in each) / len(each),
            n_entries=n_entries,
            n_seeds=len(draft.seeds),
            n_trials=draft.trials * len(draft.tuning_seeds),
            share=min(1.0, (draft.tuning_tasks or n_tasks) / n_tasks),
            n_states=n_states,
            n_tuning_seeds=len(draft.tuning_seeds),
        )
        found.append(cost)
    return found


def spent(board: Board) -> Cost:
    """The cost of a board's entries, by the seconds that their records tell.

    These are wall seconds of wherever an entry was made: beside other processes they are too many.
    """
    each, n_tasks, n_states = [], 1, 0
    for entry in iter_entries(board):
        runs = [record for record in entry.records.values() if record.status == "completed"]
        if runs:
            each.append(math.fsum(map(_told, runs)) / len(runs))
            n_tasks = runs[0].stream["n_tasks"] or 1
            n_states = len(runs[0].counts["evaluated_after"])
            n_states += len(runs[0].online["size"]) if runs[0].online else 0
    tuning = board.tuning or Tuning(0, None)
    return Cost(
        name=board.name,
        seconds=math.fsum(each) / max(1, len(each)),
        n_entries=len(each),
        n_seeds=len(board.seeds),
        n_trials=tuning.trials * len(board.tuning_seeds),
        share=min(1.0, (tuning.tasks or n_tasks) / n_tasks),
        n_states=n_states,
        n_tuning_seeds=len(board.tuning_seeds),
    )


def _told(record: Record) -> float:
    names = ("train_seconds", "predict_seconds", "harness_seconds")
    return math.fsum(record.cost[name] or 0.0 for name in names)


def seconds(draft: Draft, strategy: str, tell: Callable[[str], None]) -> tuple[float, int, int]:
    """CPU seconds of a whole run, from two short ones, and how many tasks and states it has.

    Data are loaded before the clock starts, as a sweep loads them once. The cost of a task is the
    difference of the two runs; what does not grow with the stream cancels in it.
    """
    words = [*words_of(draft, strategy), f"seed={draft.tuning_seeds[0]}", "evaluate_on=val"]
    pools: dict[Any, Any] = {}
    run = prepare(resolve_point(sweep(words)[0]), pools)
    n_tasks = run.stream.n_tasks or PARTS
    few = max(1, n_tasks // PARTS)
    more = min(n_tasks, 2 * few)
    first, second = (_timed(words, n, pools) for n in (few, more))
    rate = max(0.0, second - first) / max(1, more - few)
    whole = second + rate * (n_tasks - more)
    tell(
        f"{strategy}: {first:.2f} s for {few} tasks, {second:.2f} s for {more}, so {whole:.1f} s "
        f"for {n_tasks}"
    )
    n = run.stream.n_experiences(n_tasks)
    common = run.config.common
    return whole, n_tasks, len(evaluations(common.eval_every, n)) + n * common.prequential


def _timed(words: list[str], n_tasks: int, pools: dict[Any, Any]) -> float:
    """CPU seconds of this process for a run over the first tasks."""
    point = sweep([*words, f"max_tasks={n_tasks}"])[0]
    run = prepare(resolve_point(point), pools)
    with TemporaryDirectory() as folder:
        start = time.process_time()
        record, _ = execute(run, Options(out=Path(folder), quiet=True, curve=False))
        spent = time.process_time() - start
    if record.status != "completed":
        raise ClbenchError(f"{' '.join(words)}: {record.status}")
    return spent


def table(costs: Sequence[Cost]) -> list[str]:
    """The estimate as lines: one a board, and the sum."""
    head = ("board", "s/run", "entries", "seeds", "trials", "share", "run h", "tune h", "verify h")
    rows = [
        (
            c.name,
            f"{c.seconds:.1f}",
            str(c.n_entries),
            str(c.n_seeds),
            str(c.n_trials),
            f"{c.share:.2f}",
            *(f"{part / 3600:.2f}" for part in (c.entered, c.tuned, c.verified)),
        )
        for c in costs
    ]
    wide = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    lines = [
        f"{row[0].ljust(wide[0])}  "
        + "  ".join(cell.rjust(width) for cell, width in zip(row[1:], wide[1:], strict=True))
        for row in (head, *rows)
    ]
    hours = sum(c.total for c in costs) / 3600
    return [*lines, f"{hours:.1f} core-hours in all: runs, tuning and verification of every entry"]
