"""``clbench run``: train and evaluate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.engine.execute import Done, Options

EXAMPLES = """examples:
  clbench run scenario=scole strategy=ewc
  clbench run scenario=scole strategy=naive,ewc seed=0..4 --jobs 2
  clbench run scenario=scole strategy=naive,ewc ewc.lam=1,10 data=mnist5k
  clbench run scenario=class_incremental strategy=path/to/mine.py strategy.lr=0.05
  clbench run scenario=scole strategy=naive data=mnist5k encoder=efficientnet_lite0

Groups: scenario, strategy, data, encoder, model (clbench list); settings: clbench show strategy=ewc.
A comma sweeps, 0..4 is an inclusive range, NAME.setting=... addresses one arm of a sweep.
tracker=tensorboard,csv gives every run both trackers and does not sweep;
tracker=none gives none (see clbench list trackers).
Precedence: defaults < the scenario's recommendation < --config file < command line."""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "run",
        help="train and evaluate",
        description="Train strategies on streams and write a record for each run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="what to run")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="run folders go here (runs)"
    )
    parser.add_argument("--cfg", action="store_true", help="print the resolved settings and exit")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the runs and their folders; train nothing"
    )
    parser.add_argument("--resume", action="store_true", help="go on with interrupted runs")
    parser.add_argument("--overwrite", action="store_true", help="start again what is there")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs at a time, each in a process (1)"
    )
    parser.add_argument("--json", action="store_true", help="print results as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Run what the words ask for; stdout gets one table."""
    from clbench.configure.sweep import sweep
    from clbench.configure.trackers import take_trackers
    from clbench.errors import UsageError

    if arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: must be at least 1")
    words, trackers = take_trackers(arguments.overrides)
    points = sweep(words, arguments.config)
    if arguments.cfg:
        return _print_settings(points)
    from clbench.engine.execute import Options, run_all

    options = Options(
        out=arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        jobs=arguments.jobs,
        quiet=arguments.quiet,
        trackers=trackers,
    )
    if arguments.dry_run:
        return print_plan(points, options)
    ended = []
    for done in run_all(points, options):
        ended.append(done)
        for line in outcome(done):
            if not arguments.quiet or done.record is None or done.record.status != "completed":
                print(line, file=sys.stderr)
        if done.record is not None and done.record.status == "interrupted":
            break
    from clbench.results.tables import print_table, summarise, to_json

    ended.sort(key=lambda done: done.number)
    records = [done.record for done in ended if done.record is not None]
    rows = summarise(records)
    if arguments.json:
        print(to_json(rows), end="")
    elif rows:
        print_table(rows)
    statuses = {"error" if done.record is None else done.record.status for done in ended}
    if "interrupted" in statuses:
        return 130
    return 0 if statuses <= {"completed"} else 1


def outcome(done: Done) -> list[str]:
    """How a run ended, and what its strategy warned of."""
    record = done.record
    if record is None:
        return [f"clbench: error: {' '.join(done.error.split())}"]
    accuracy = record.metrics["world_accuracy"]["value"]
    what = "already done" if done.skipped else str(record.status)
    if record.error:
        what += f": {record.error['type']}: {record.error['message']}"
    shown = "" if accuracy is None else f", world accuracy {accuracy:.1%}"
    again = " (--resume goes on)" if record.status == "interrupted" else ""
    warnings = [f"clbench: warning: {text}" for text in record.warnings]
    return [*warnings, f"{done.folder}: {what}{shown}{again}"]


def _print_settings(points: list[dict[str, Any]]) -> int:
    import yaml

    from clbench.configure.config import resolve_point

    for number, point in enumerate(points):
        if number:
            print("---")
        print(yaml.safe_dump(resolve_point(point).as_dict(), sort_keys=False), end="")
    return 0


def print_plan(points: list[dict[str, Any]], options: Options) -> int:
    """Build every stream, train nothing, print where each run would go."""
    from clbench.configure.config import resolve_point
    from clbench.engine.build import prepare
    from clbench.engine.execute import check_folder, state_of, telling_of

    pools: dict[Any, Any] = {}
    for point in points:
        run = prepare(resolve_point(point), pools, telling_of(options))
        check_folder(run, options)
        run.stream.experience(0)
        tasks = "endless" if run.n_tasks is None else f"{run.n_tasks} tasks"
        print(f"{run.folder(options.out)}  {tasks}  {state_of(run, options)}")
    return 0
