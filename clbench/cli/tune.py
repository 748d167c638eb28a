"""``clbench tune``: chooses settings on a board's tuning seeds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from clbench.cli import run_on

EXAMPLES = """examples:
  clbench tune board=scole-digits strategy=ewc strategy.lam=0.1,1,10
  clbench tune board=scole-digits strategy=ewc strategy.lam=1,10 --on ray"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "tune",
        help="choose settings by a board's rules",
        description="Run a grid of at most 20 trials on the board's tuning seeds. Each trial learns "
        "from 90 % of the training data and is scored on the other 10 % (val); test data are not read.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "overrides", nargs="+", metavar="key=value", help="board, strategy and the grid of settings"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder for the runs (default: runs)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="number of runs at a time (default: 1); with --on: of jobs",
    )
    run_on.add_engine(parser)
    parser.add_argument("--resume", action="store_true", help="continue interrupted runs")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Tune, and print the trials, the best first."""
    from clbench.engine.execute import Options
    from clbench.errors import UsageError
    from clbench.leaderboard.tune import tune
    from clbench.sweeps.local import run_all
    from clbench.util.console import one_line, printable

    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: must be at least 1")
    run_on.check(arguments)
    options = Options(out=arguments.out, resume=arguments.resume, jobs=arguments.jobs or 1)
    runner = run_all if arguments.on is None else run_on.runner_of(arguments)
    trials, path = tune(
        arguments.overrides, options, lambda line: print(one_line(line), file=sys.stderr), runner
    )
    for trial in trials:
        settings = " ".join(f"{k}={v}" for k, v in trial.settings.items()) or "(defaults)"
        print(printable(f"{trial.mean:.4f}  {settings}"))
    words = [
        w for w in arguments.overrides if w.partition("=")[0] in ("board", "strategy", "division")
    ]
    print()
    print(printable(f"clbench run {' '.join(words)} tuned={path}"))
    return 0
