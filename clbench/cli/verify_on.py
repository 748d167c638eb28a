"""``clbench verify --on ENGINE``, and the jobs that an engine runs for it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.configure.board import Board
    from clbench.leaderboard.reproduce.on import Told
    from clbench.leaderboard.reproduce.verify import Report
    from clbench.sweeps.lines import Line


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of engines."""
    from clbench.cli.run_on import add_engine

    group = add_engine(parser)
    group.add_argument(
        "--wait", action="store_true", help="wait for the jobs, and print what they say"
    )
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("runs"),
        help="shared folder of plans and logs (default: runs)",
    )
    for name in ("--plan", "--index", "--job"):
        parser.add_argument(name, help=argparse.SUPPRESS)


def submit(arguments: argparse.Namespace, board: Board, folders: list[Path]) -> int:
    """Hand a command an entry to the engine; return 1 if any was refused."""
    from clbench.cli import run_on
    from clbench.leaderboard.reproduce import on
    from clbench.sweeps.engine import Needs, chosen

    run_on.check(arguments)
    engine = chosen(arguments.on)
    threads = int(board.settings.get("threads", 1)) or 1
    needs = Needs(threads=threads, per_job=arguments.per_job or 1, at_once=arguments.jobs)
    engine.open()
    try:
        home, lines = on.planned(board.folder, folders, _options(arguments), arguments.out)
        waiting = on.hand_out(home, lines, engine, needs)
        if waiting and not (arguments.wait or engine.stays):
            print("clbench: the same words with --wait wait for it", file=sys.stderr)
            return 0
        found = [on.read(home, lines, k) for k in range(len(lines)) if k not in waiting]
        told = [one for one in found if one is not None]
        for one in told:
            _print(one, arguments.json)
        for one in on.follow(home, lines, engine, waiting):
            told.append(one)
            _print(one, arguments.json)
    finally:
        engine.close()
    if arguments.json:
        print(
            json.dumps([{k: v for k, v in one._asdict().items() if k != "number"} for one in told])
        )
    return 0 if all(one.passed for one in told) else 1


def _print(one: Told, is_quiet: bool) -> None:
    from clbench.util.console import printable

    said = [f"ok   {one.entry} {line}" for line in one.lines]
    said += [f"FAIL {one.entry} {line}" for line in one.refusals]
    for line in said if not is_quiet else ():
        print(printable(line), flush=True)


def _options(arguments: argparse.Namespace) -> list[str]:
    """What every job is given beside its entry."""
    given = ["--perturbed", str(arguments.perturbed)]
    given += ["--perturbed-of", arguments.perturbed_of] if arguments.perturbed_of else []
    given += ["--seeds", arguments.seeds] if arguments.seeds else []
    given += ["--secret", str(arguments.secret.absolute())] if arguments.secret else []
    for folder in arguments.files:
        given += ["--files", str(folder.absolute())]
    return given + [f"--{name}" for name in ("all", "tuning") if getattr(arguments, name)]


def job(arguments: argparse.Namespace, verify: Any) -> int:
    """Run a job: verify the entries of its lines.

    Args:
        arguments: with ``plan``, ``index`` and ``job``.
        verify: gives the report of an entry, from the words of ``clbench verify``.
    """
    from clbench.cli.run_on import begin_job
    from clbench.errors import ClbenchError
    from clbench.leaderboard.reproduce import on
    from clbench.sweeps.home import VERIFY, Home
    from clbench.sweeps.lines import indices, read

    path = Path(arguments.plan).absolute()
    begin_job(path, arguments.job or "alone")
    home, lines = Home(path.parent, VERIFY), read(path)
    chosen = indices(arguments.index or f"0..{len(lines) - 1}", len(lines))

    def one(line: Line) -> Report:
        found: Report = verify([line.folder, *on.options_of(line)])
        return found

    try:
        on.run_job(home, chosen, lines, one)
    except ClbenchError as error:
        for index in chosen:
            home.note_failure(index, str(error))
        raise
    return 0
