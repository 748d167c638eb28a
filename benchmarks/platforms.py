"""What another platform changes: entries whose runs were verified there with other answers.

    python -m benchmarks.platforms class-incremental [--boards leaderboards]

Prints for each entry with such seeds by how much the primary moved from what was claimed (root mean
square over its verified seeds) and the standard deviation over the claimed seeds, in percentage
points. Reads the ledgers; nothing is run.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

from clbench.configure.board import find_board
from clbench.leaderboard.entry import iter_entries
from clbench.leaderboard.verification import verified_runs


def main() -> None:
    """Print a line for each entry with an unequal seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("board")
    parser.add_argument("--boards", type=Path, default=Path("leaderboards"))
    given = parser.parse_args()
    board = find_board(given.board, given.boards)
    for entry in iter_entries(board):
        runs = [*verified_runs(board, entry).values()]
        if len(runs) > 1 and not all(run.equal for run in runs):
            moved = math.sqrt(statistics.fmean((run.primary - run.claimed) ** 2 for run in runs))
            sd = statistics.stdev(run.claimed for run in runs)
            print(f"{entry.slug}: moved by {100 * moved:.1f}; seeds differ by {100 * sd:.1f}")


if __name__ == "__main__":
    main()
