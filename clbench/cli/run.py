"""``clbench run``: train and evaluate."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench.cli import run_on
from clbench.util.console import one_line, printable

if TYPE_CHECKING:
    from clbench.engine.execute import Done, Options
    from clbench.sweeps.plan import Line

EXAMPLES = """examples:
  clbench run scenario=scole strategy=ewc
  clbench run scenario=scole strategy=naive,ewc seed=0..4 --jobs 2
  clbench run scenario=scole strategy=naive,ewc ewc.lam=1,10 data=mnist5k
  clbench run scenario=class_incremental strategy=mine.py strategy.lr=0.05
  clbench run scenario=scole strategy=slda encoder=efficientnet_lite0
  clbench run scenario=scole strategy=naive,ewc seed=0..9 --plan plan.jsonl
  clbench run --plan plan.jsonl --index 3
  clbench run scenario=scole strategy=ewc seed=0..99 --on ray --jobs 8

Groups: scenario, strategy, data, encoder, model (see clbench list).
Settings of a plug-in: clbench show strategy=ewc.
A comma separates values of a sweep; 0..4 is an inclusive range;
NAME.setting=... sets one arm of a sweep only. A value in quotes is
taken as it is: "data.path='a,b.npz'" (the outer quotes are the shell's).
tracker=tensorboard,csv gives every run both trackers and does not sweep;
tracker=none gives none (see clbench list trackers). A plan keeps these
words; given beside --plan FILE, they replace those of the plan.
Precedence, lowest first: defaults, the scenario's recommendations,
--config FILE, the command line."""

DEFAULT_OUT = "runs"


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "run",
        help="train and evaluate",
        description="Train strategies on streams and write a record for each run.",
        epilog=EXAMPLES,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="plug-ins and settings")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(DEFAULT_OUT),
        metavar="DIR",
        help="folder for the runs (default: runs)",
    )
    parser.add_argument("--cfg", action="store_true", help="print the resolved settings and exit")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="list the runs and their folders, train nothing (latents that are not kept are encoded)",
    )
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="with words: write the sweep to FILE, a line for each run, and train nothing; "
        "without words: run the sweep in FILE. Its lines keep no --out: give it with both",
    )
    parser.add_argument(
        "--index", metavar="K", help="run line K alone of --plan, counted from 0; K..L: several"
    )
    parser.add_argument("--resume", action="store_true", help="continue interrupted runs")
    parser.add_argument("--overwrite", action="store_true", help="run again what was run before")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="number of runs at a time, each in its own process (default: 1); with --on: of jobs "
        "(default: no limit; ray and dask here: one for each core)",
    )
    parser.add_argument("--json", action="store_true", help="print results as JSON")
    parser.add_argument(
        "--md",
        action="store_true",
        help="print results as Markdown, below the command and the resolved network",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print no progress; warnings are shown"
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    run_on.add_options(parser)
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Run what the words ask for; stdout gets one table."""
    from clbench.configure.sweep import read_file, sweep
    from clbench.configure.trackers import asked
    from clbench.errors import UsageError

    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: must be at least 1")
    run_on.check(arguments)
    given = asked(arguments.overrides, read_file(arguments.config) if arguments.config else None)
    if arguments.index is not None and (arguments.plan is None or given.words or arguments.config):
        raise UsageError("--index K goes with --plan FILE alone: clbench run --plan FILE --index K")
    lines, chosen = None, [0]
    if arguments.plan is not None and not given.words and arguments.config is None:
        from clbench.sweeps import plan

        if arguments.job is not None:
            run_on.begin_job(arguments.plan, arguments.job)
        lines, chosen = _chosen(arguments.plan, arguments.index)
        points, planned = plan.read_points(lines)
        given = given if given.tracker_words else planned
    else:
        points = sweep(given.words, given.settings, _note)
    if arguments.cfg:
        return _print_settings(points)
    if arguments.md and not (given.words and arguments.config is None):
        raise UsageError("--md goes with words alone: they are the command above the table")
    from clbench.engine.execute import Options
    from clbench.sweeps.local import run_all

    options = Options(
        out=arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        jobs=arguments.jobs or 1,
        quiet=arguments.quiet,
        trackers=given.trackers,
        patience=run_on.PATIENCE_SECONDS if arguments.job else 0.0,
    )
    if arguments.dry_run and arguments.md:
        _print_head([*given.words])
        return 0
    if arguments.dry_run or (arguments.plan is not None and lines is None):
        file = arguments.plan if lines is None else None
        return print_plan(points, options, file, arguments.json, lines or (), given.tracker_words)
    ends: Iterator[Done] | None
    if arguments.on is not None:
        ends = run_on.submitted(arguments, points, options, lines or (), given.tracker_words)
        if ends is None:
            return 0
    else:
        ends = run_all(points, options, lines or ())
        if arguments.job is not None:
            ends = run_on.note_ends(ends, arguments.plan, chosen)
    ended = []
    for done in ends:
        ended.append(done)
        *warnings, ending = outcome(done)
        is_shown = not arguments.quiet or done.record is None or done.record.status != "completed"
        for line in (*warnings, *([ending] if is_shown else [])):
            print(line, file=sys.stderr)
    if arguments.job is not None:
        return exit_code(ended)
    from clbench.results.tables import print_table, summarise, to_json, to_markdown

    ended.sort(key=lambda done: done.number)
    records = [done.record for done in ended if done.record is not None]
    rows = summarise(records)
    if arguments.json:
        print(to_json(rows), end="")
    elif arguments.md:
        _print_head([*given.words])
        print(to_markdown(rows), end="")
    elif rows:
        print_table(rows)
    return exit_code(ended)


def exit_code(ended: Sequence[Done]) -> int:
    """0: all runs completed; 130: one was interrupted; 1: another end."""
    statuses = {"error" if done.record is None else done.record.status for done in ended}
    if "interrupted" in statuses:
        return 130
    return 0 if statuses <= {"completed"} else 1


def _print_head(words: Sequence[str]) -> None:
    """Print the lines that stand above a table in the docs."""
    from clbench.engine.resolved import head

    print("\n".join(head(f"clbench run {shlex.join(words)}", words)))


def outcome(done: Done) -> list[str]:
    """How a run ended, and what its strategy warned of."""
    record = done.record
    if record is None:
        return [f"clbench: error: {one_line(done.error)}"]
    accuracy = record.metrics["world_accuracy"]["value"]
    what = "already done" if done.skipped else str(record.status)
    if record.error:
        what += f": {record.error['type']}: {record.error['message']}"
    shown = "" if accuracy is None else f", world accuracy {accuracy:.1%}"
    again = " (--resume goes on)" if record.status == "interrupted" else ""
    warnings = [f"clbench: warning: {one_line(text)}" for text in record.warnings]
    return [*warnings, one_line(f"{done.folder}: {what}{shown}{again}")]


def _note(line: str) -> None:
    print(f"clbench: {one_line(line)}", file=sys.stderr)


def _print_settings(points: list[dict[str, Any]]) -> int:
    from clbench.configure.config import resolve_point
    from clbench.util import yaml_files

    for number, point in enumerate(points):
        if number:
            print("---")
        print(yaml_files.dump(resolve_point(point).as_dict()), end="")
    return 0


def print_plan(
    points: list[dict[str, Any]],
    options: Options,
    file: Path | None = None,
    as_json: bool = False,
    planned: Sequence[Line] = (),
    tracker_words: Sequence[str] = (),
) -> int:
    """Check every run and train nothing; print where each would go, or write the plan to a file."""
    import json
    import shlex

    from clbench.engine.execute import sink_of, state_of
    from clbench.engine.settled import network_line
    from clbench.sweeps import plan
    from clbench.sweeps.local import check_options, checked
    from clbench.sweeps.once import Once
    from clbench.sweeps.planner import Planner
    from clbench.trackers.progress import say

    check_options(options)
    planner, once = Planner(sink_of(options)), Once()
    found: dict[int, tuple[Line, str, str]] = {}
    networks: dict[str, None] = {}
    for number, point in enumerate(points):
        run = checked(planner, point, planned[number] if planned else None, options)
        planner.deliver(run)
        once.add(number, point, run)
        networks |= dict.fromkeys(filter(None, [network_line(run.config)]))
        tasks = "endless" if run.n_tasks is None else f"{run.n_tasks} tasks"
        state = state_of(run, options)
        shown = f"{run.folder(options.out)}  {tasks}  {state}"
        found[number] = (plan.line_of(point, run, tracker_words), state, shown)
    note = once.note()
    if note is not None:
        say(note)
    for text in () if options.quiet else networks:
        say(text)
    lines = [found[number][0] for number in once.numbers]
    for line, state, shown in (found[number] for number in once.numbers):
        if as_json:
            print(json.dumps({**line.as_dict(), "state": state}))
        elif file is None:
            print(printable(shown))
    if file is not None:
        plan.write(file, lines)
        words = shlex.join(["--plan", str(file), "--out", str(options.out)])
        where = "" if options.out == Path(DEFAULT_OUT) else f"; run them with {words}"
        print(printable(f"{file}: {len(lines)} runs{where}"), file=sys.stderr)
    return 0


def _chosen(path: Path, index: str | None) -> tuple[list[Line], list[int]]:
    """All lines of a plan, or those that ``--index`` asks for, and their indices.

    Raises:
        UsageError: there is no such line.
    """
    from clbench.sweeps import lines

    rows = lines.rows_of(path)
    chosen = [*range(len(rows))] if index is None else lines.indices(index, len(rows))
    return [*lines.parsed(path, rows, {*chosen})], chosen
