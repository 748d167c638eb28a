"""How much the place of honest entries varies over draws of fresh data: the figures in docs/trust.md.

    python -m benchmarks.fresh_data drift --only gdumb,podnet,aper,er --draws 6

Runs each entry and the board's lower anchor on draws of fixed secrets, as ``clbench verify`` does on
secret ones, and prints the place on each less that on the board. Minutes: a draw takes a run of each.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
from contextlib import nullcontext
from pathlib import Path

from clbench.configure.board import find_board
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.held_out import Fresh, place
from clbench.leaderboard.reproduce.processes import Zygote, can_fork
from clbench.leaderboard.reproduce.rerun import point_of
from clbench.leaderboard.scores import score


def main() -> None:
    """Print for each entry its place on the board; mean, deviation and values of the differences."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("board")
    parser.add_argument("--boards", type=Path, default=Path("leaderboards"))
    parser.add_argument("--only", required=True, help="entries, by commas")
    parser.add_argument("--draws", type=int, default=6)
    given = parser.parse_args()
    board = find_board(given.board, given.boards)
    threads = int(board.settings.get("threads", 0))
    draws = [Fresh(board, hashlib.sha256(b"noise %d" % n).digest()) for n in range(given.draws)]
    with Zygote(threads, "cpu") if can_fork() else nullcontext() as zygote:
        for name in given.only.split(","):
            entry = load_entry(board.entries / name)
            claimed = place(statistics.fmean(score(board, entry).values()), board.naive.mean)
            point = point_of(board, entry, entry.records[min(entry.records)])
            found = [place(draw.entry(point, zygote), draw.anchor("cpu")) for draw in draws]
            less = [one - claimed for one in found]
            spread = f" ± {statistics.stdev(less):.2f}" if len(less) > 1 else ""
            each = " ".join(f"{value:.2f}" for value in less)
            print(
                f"{name}: {claimed:.2f}; {statistics.fmean(less):.2f}{spread} ({each})", flush=True
            )


if __name__ == "__main__":
    main()
