"""``clbench status``: what is done of a sweep, what runs and where, what failed and why."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench.util.console import has_codes, one_line, printable

if TYPE_CHECKING:
    from clbench.sweeps.states import Asked, Look, Tally

EXAMPLES = """examples:
  clbench status
  clbench status runs --watch
  clbench status plan.jsonl --out runs --json"""
WATCH_SECONDS = 5.0
MAX_FAILURES = 10
"""Failed runs that are named."""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "status",
        help="show what is done of a sweep, what runs and what failed",
        description="Count the runs of a folder, or of a plan, by state: done, running (and on which "
        "host, by the heartbeat of the run's lock), interrupted, failed (with the first line of why) "
        "and waiting. The time left is estimated from finished runs of the same settings.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "what",
        nargs="?",
        type=Path,
        default=Path("runs"),
        metavar="DIR|PLAN",
        help="a folder of runs, with the sweeps that were submitted there, or a plan's file "
        "(default: runs)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="with a plan: folder of its runs (default: runs, or the folder that it was written for)",
    )
    parser.add_argument("--watch", action="store_true", help="look again every 5 s until all ended")
    parser.add_argument(
        "--table", action="store_true", help="print the table of the finished runs below"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print a block for each sweep; return 1 if a run failed."""
    from clbench.errors import UsageError
    from clbench.sweeps.states import Look

    if not arguments.what.exists():
        raise UsageError(f"{arguments.what}: there is no such folder or plan")
    if arguments.what.is_dir() and arguments.out is not None:
        raise UsageError("--out goes with a plan: clbench status PLAN --out DIR")
    look = Look(_out(arguments))
    shown = None
    while True:
        found = _tallies(arguments, look)
        text = _json(found) if arguments.json else _text(found)
        if text != shown:
            if shown is not None and has_codes(sys.stdout):
                sys.stdout.write("\x1b[2J\x1b[H")
            print(text, flush=True)
            shown = text
        if not arguments.watch or not any(tally.unfinished for _, tally in found):
            break
        time.sleep(WATCH_SECONDS)
    if arguments.table:
        _table(arguments, look)
    return 1 if any(tally.counts["failed"] for _, tally in found) else 0


def _out(arguments: argparse.Namespace) -> Path:
    from clbench.sweeps.home import PLAN, SWEEPS

    path: Path = arguments.what
    if path.is_dir():
        return path
    if arguments.out is not None:
        return Path(arguments.out)
    above = path.absolute().parents
    is_home = path.name == PLAN and len(above) > 2 and above[1].name == SWEEPS
    return above[2] if is_home else Path("runs")


def _tallies(arguments: argparse.Namespace, look: Look) -> list[tuple[str, Tally]]:
    """Of each sweep, and of the runs that belong to none."""
    from clbench.sweeps import home, states

    path: Path = arguments.what
    if not path.is_dir():
        failed = home.Home(path.absolute().parent).failures()
        return [(path.stem, states.tally(look, home.asked_of(path), failed))]
    found: list[tuple[str, Tally]] = []
    named: set[str] = set()
    for sweep in home.homes(path):
        runs = [*home.asked_of(sweep.plan)]
        named.update(run.folder for run in runs)
        found.append((sweep.id, states.tally(look, runs, sweep.failures())))
    others = [run for run in states.runs_below(path) if run.folder not in named]
    if others or not found:
        found.append(("other" if found else path.name, states.tally(look, others)))
    return found


def _text(found: list[tuple[str, Tally]]) -> str:
    from clbench.sweeps.summary import summary

    lines = []
    for name, tally in found:
        lines.append(summary(tally) if len(found) == 1 else f"{name}: {summary(tally)}")
        for folder, why in tally.failures[:MAX_FAILURES]:
            lines.append(f"  failed: {folder}: {one_line(why)}")
        if len(tally.failures) > MAX_FAILURES:
            lines.append(f"  failed: {len(tally.failures) - MAX_FAILURES} more (--json names them)")
    return "\n".join(map(printable, lines))


def _json(found: list[tuple[str, Tally]]) -> str:
    rows = [
        {
            "sweep": name,
            "runs": tally.n,
            **tally.counts,
            "hosts": tally.hosts,
            "failures": [{"folder": folder, "why": why} for folder, why in tally.failures],
            "seconds_left": tally.seconds_left,
        }
        for name, tally in found
    ]
    return json.dumps(rows, indent=2)


def _table(arguments: argparse.Namespace, look: Look) -> None:
    from clbench.errors import ClbenchError
    from clbench.results.record import Record
    from clbench.results.tables import print_table, summarise

    records = []
    for run in _runs(arguments.what):
        path = look.out / run.folder / "record.json"
        try:
            records.append(Record.load(path))
        except ClbenchError as error:
            if path.exists():
                print(f"clbench: warning: {one_line(str(error))}", file=sys.stderr)
    if records:
        print_table(summarise(records))


def _runs(path: Path) -> list[Asked]:
    from clbench.sweeps import home, states

    return [*(states.runs_below(path) if path.is_dir() else home.asked_of(path))]
