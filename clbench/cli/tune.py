"""``clbench tune``: choose settings on a board's tuning seeds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "tune",
        help="choose settings by a board's rules",
        description="Run a grid on the board's tuning seeds: learns from nine tenths of train, scores "
        "on the other tenth (val), never opens test. At most 20 trials.",
        epilog="example: clbench tune board=scole-digits strategy=ewc strategy.lam=0.1,1,10",
    )
    parser.add_argument("overrides", nargs="+", metavar="key=value")
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="run folders (runs)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--resume", action="store_true", help="go on with interrupted runs")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Tune and print the trials, best first."""
    from clbench.engine.execute import Options
    from clbench.leaderboard.tune import tune

    options = Options(out=arguments.out, resume=arguments.resume, jobs=arguments.jobs)
    trials, path = tune(arguments.overrides, options, lambda line: print(line, file=sys.stderr))
    for trial in trials:
        settings = " ".join(f"{k}={v}" for k, v in trial.settings.items()) or "(defaults)"
        print(f"{trial.mean:.4f}  {settings}")
    words = [
        w for w in arguments.overrides if w.partition("=")[0] in ("board", "strategy", "division")
    ]
    print(f"\nclbench run {' '.join(words)} tuned={path}")
    return 0
