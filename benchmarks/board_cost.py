"""What boards cost here: of every Nth entry, one run and the same run verified, in CPU seconds.

    python -m benchmarks.board_cost --every 6 --out costs.jsonl      # goes on where it stopped

The records of entries tell wall seconds of wherever they were made, beside whatever ran there. Here a
run is timed as the kernel counts it, and so is its verification: the parent, the process that others
are forked from, and its forks, without the seconds that that one takes to start, once a board.

A verification is of all seeds, with every operation counted; without counts, of one seed on fresh data,
of three trials of the table, and of the perturbed arms of the entries whose ledger tells of them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from clbench.configure.board import Board, load_board
from clbench.configure.config import resolve_point
from clbench.engine.build import prepare
from clbench.engine.execute import Options, execute
from clbench.leaderboard.budget import TRIALS_AGAIN, Cost, spent
from clbench.leaderboard.entry import Entry, iter_entries
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.rerun import point_of, rerun

ROOT = Path(__file__).resolve().parents[1] / "leaderboards"


def boards(root: Path) -> list[Board]:
    """The boards that are frozen."""
    return [load_board(path.parent) for path in sorted(root.glob("*/board.yaml"))]


def tree_seconds(pid: int) -> float:
    """CPU seconds of a process, of those below it, and of those of them that have ended."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = sum(map(int, stat[11:15]))  # ticks of user and system time, also of ended children
    return own / os.sysconf("SC_CLK_TCK") + sum(tree_seconds(int(child)) for child in below)


def measured(board: Board, entry: Entry, zygote: Zygote) -> dict[str, Any]:
    """CPU seconds of one seed's run and of its verification, also without counts; states rebuilt."""
    seed = min(entry.records)
    point = point_of(board, entry, entry.records[seed])
    pools: dict[Any, Any] = {}
    run = prepare(resolve_point(point), pools)
    start = time.process_time()
    with TemporaryDirectory() as folder:
        execute(run, Options(out=Path(folder), quiet=True, curve=False))
    alone = time.process_time() - start
    before = zygote.started
    found = {"run": alone}
    for name, count in (("verified", True), ("uncounted", False)):
        start, forked = time.process_time(), tree_seconds(zygote.process.pid)
        rerun(point, pools, zygote=zygote, count=count)
        found[name] = time.process_time() - start + tree_seconds(zygote.process.pid) - forked
    cost = entry.records[seed].cost
    told = sum(cost[f"{name}_seconds"] or 0.0 for name in ("train", "predict", "harness"))
    return {**found, "told": told, "states": (zygote.started - before) // 2}


def measure(root: Path, every: int, out: Path) -> Iterator[dict[str, Any]]:
    """Time every Nth entry of each board; rows go into ``out``, and those in it are not run again."""
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    yield from rows
    known = {(row["board"], row["entry"]) for row in rows}
    for board in boards(root):
        todo = [e for e in [*iter_entries(board)][::every] if (board.name, e.slug) not in known]
        if not todo:
            continue
        with Zygote(int(board.settings.get("threads", 0)), "cpu") as zygote, out.open("a") as file:
            for entry in todo:
                row = {"board": board.name, "entry": entry.slug, **measured(board, entry, zygote)}
                file.write(json.dumps(row) + "\n")
                file.flush()
                yield row


def perturbed(board: Board) -> int:
    """How many runs of perturbed arms the ledger tells of."""
    found = [e.verification.stability for e in iter_entries(board) if e.verification]
    arms = [(s["seeds"], 1 + (s["rate_rms"] is not None)) for s in found if s is not None]
    return sum(len(seeds) * n for seeds, n in arms)


def hours(
    plan: Cost, n_perturbed: int, row: Mapping[str, Any]
) -> tuple[float, float, float, float]:
    """What an entry costs: its runs, its tuning, its verification, and trials that are run again.

    Args:
        plan: of the entry's board.
        n_perturbed: runs of perturbed arms on that board, of which each entry bears an equal share.
        row: what ``measured`` found.
    """
    trials_again = TRIALS_AGAIN * plan.n_tuning_seeds * plan.share
    seconds = (
        plan.n_seeds * row["run"],
        plan.n_trials * plan.share * row["run"],
        plan.n_seeds * row["verified"] + (1 + n_perturbed / plan.n_entries) * row["uncounted"],
        trials_again * row["uncounted"],
    )
    runs, tuning, verification, trials = (part / 3600 for part in seconds)
    return runs, tuning, verification, trials


def table(root: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each board, and the sums, in hours of one core."""
    lines = [
        "| board | entries | timed | run, s | as records tell, s | verified, s | runs, h | tuning, h |"
        " verification, h | trials again, h |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    sums, variance = np.zeros(4), 0.0
    for board in boards(root):
        mine = [row for row in rows if row["board"] == board.name]
        if not mine:
            continue
        plan, n_perturbed = spent(board), perturbed(board)
        n, each = plan.n_entries, np.array([hours(plan, n_perturbed, row) for row in mine])
        of_board = n * each.mean(0)
        sums += of_board
        if len(mine) > 1:
            variance += n * (n - len(mine)) * each.sum(1).var(ddof=1) / len(mine)
        run, told, again = (
            statistics.fmean(row[k] for row in mine) for k in ("run", "told", "verified")
        )
        shown = " | ".join(f"{h:.2f}" for h in of_board)
        lines.append(
            f"| {board.name} | {n} | {len(mine)} | {run:.1f} | {told:.1f} | {again:.1f} | {shown} |"
        )
    shown = " | ".join(f"**{h:.1f}**" for h in sums)
    median = statistics.median(row["run"] for row in rows)
    return [
        *lines,
        f"| all | | {len(rows)} | {median:.1f} (median) | | | {shown} |",
        "",
        f"{sums.sum():.1f} core-hours in all (standard error {math.sqrt(variance):.1f})",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=6, help="time every Nth entry")
    parser.add_argument("--out", type=Path, required=True, help="file of rows, one a line")
    arguments = parser.parse_args()
    rows = []
    for row in measure(ROOT, arguments.every, arguments.out):
        rows.append(row)
        print(
            f"{row['board']} {row['entry']}: run {row['run']:.1f} s, verified {row['verified']:.1f} s"
        )
    print("\n".join(table(ROOT, rows)))


if __name__ == "__main__":
    main()
