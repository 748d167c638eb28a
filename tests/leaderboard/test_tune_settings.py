"""Settings beside the trial table: what no trial chose, and what a record shows that did not run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from test_tune import Tuned, done, findings, tuning_board
from tiny import run_on

from clbench.configure.board import Board
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.rerun import compare, point_of, rerun
from clbench.leaderboard.submit import submit

__all__ = ["done", "tuning_board"]  # fixtures


def test_a_setting_beside_the_trials_is_refused(
    done: Tuned, tuning_board: Board, tmp_path: Path
) -> None:
    """The table is honest and named by the runs, which have a setting more."""
    words = ("strategy=naive", f"tuned={done[1]}", "seed=0", "strategy.label_smoothing=0.1")
    arm = run_on(tuning_board, tmp_path, *words)
    folder = submit(arm, "beside", tuning_board.folder.parent, done[1])[1].folder
    [said] = findings(tuning_board, folder)
    assert said.startswith("strategy.label_smoothing is 0.1, which no trial chose")


def test_what_a_record_shows_is_compared_with_what_ran(
    done: Tuned, tuning_board: Board, tmp_path: Path, zygote: Zygote
) -> None:
    """A record without a table shows a setting; the defaults run again, with the same answers."""
    arm = run_on(tuning_board, tmp_path, "strategy=naive", "seed=0")
    folder = submit(arm, "shown", tuning_board.folder.parent)[1].folder
    honest = load_entry(folder).records[0]
    strategy = {**honest.config["strategy"], "label_smoothing": 0.1}
    forged = dataclasses.replace(honest, config={**honest.config, "strategy": strategy})
    point = point_of(tuning_board, load_entry(folder), forged)
    again = rerun(point, zygote=zygote).record
    assert compare(tuning_board, honest, again).equal
    assert compare(tuning_board, forged, again).refusal == (
        "strategy.label_smoothing is 0.1 in the record, and was 0.0 when it ran again"
    )
