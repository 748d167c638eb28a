"""``clbench tune``: chooses settings by a random search, on a board by the board's rules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from clbench.cli import run_on

EXAMPLES = """examples:
  clbench tune board=long-digits strategy=ewc
  clbench tune board=long-digits strategy=er strategy.memory_size=200
  clbench tune scenario=scole strategy=ewc --trials 30
  clbench tune scenario=scole strategy=ewc ewc.lam=1,10,100 --sampler tpe
  clbench tune board=long-digits strategy=ewc --on ray"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "tune",
        help="choose settings by a board's rules, or for any scenario",
        description="Run a search over the settings that the strategy declares a space for, the "
        "defaults first. Each trial learns from 90 % of the training data and is scored on the other "
        "10 % (val); test data are not read. On a board the number of trials, the tuning seeds and "
        "the part of the stream are the board's. A setting that is given is the same in all trials; "
        "one that is given several values is drawn from these.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="key=value",
        help="board (or scenario), strategy, and settings",
    )
    parser.add_argument(
        "--trials", type=int, metavar="N", help="trials without a board (default: 12)"
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="what to maximise without a board (default: anytime_world_accuracy)",
    )
    parser.add_argument(
        "--sampler",
        choices=("random", "tpe"),
        default="random",
        help="random, or Optuna's TPE (pip install 'clbench[optuna]'), which is not for boards",
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
    """Tune, and print the trials, the best first, and the words of the best run."""
    from clbench.engine.execute import Options
    from clbench.errors import UsageError
    from clbench.leaderboard.tune import ordered, tune
    from clbench.sweeps.local import run_all
    from clbench.util.console import one_line, printable

    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: must be at least 1")
    run_on.check(arguments)
    options = Options(
        out=arguments.out, resume=arguments.resume, jobs=arguments.jobs or 1, curve=False
    )
    runner = run_all if arguments.on is None else run_on.runner_of(arguments)
    table, path = tune(
        arguments.overrides,
        options,
        lambda line: print(one_line(line), file=sys.stderr),
        trials=arguments.trials,
        primary=arguments.metric,
        sampler=arguments.sampler,
        runner=runner,
    )
    for mean, settings in ordered(table):
        said = " ".join(f"{k}={v}" for k, v in settings.items()) or "(defaults)"
        print(printable(f"{mean:.4f}  {said}"))
    heads = {word.partition("=")[0]: word for word in arguments.overrides}
    print()
    if table["board"]:
        words = [heads[key] for key in ("board", "strategy", "division") if key in heads]
        print(printable(f"clbench run {' '.join(words)} tuned={path}"))
        return 0
    print(f"{path}: all trials")
    space, arm = table["space"], f"{table['strategy']}."
    given = {k: word for k, word in heads.items() if k not in {"seed", "max_tasks", *space}}
    own = {k for k in given if k.startswith(arm) and f"strategy.{k.removeprefix(arm)}" in space}
    words = [word for key, word in given.items() if key not in own]
    words += [f"{k}={v}" for k, v in table["best"].items() if k in space]
    print(printable(f"clbench run {' '.join(words)}"))
    return 0
