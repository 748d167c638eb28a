"""``clbench submit``: enters finished runs on a leaderboard."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench submit runs/scole/ewc-1a2b3c4d --entry my-ewc
  clbench submit --code mine.py --board long-digits --entry mine"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "submit",
        help="enter finished runs on a leaderboard",
        description="Copy the records of all seeds and the strategy's source to the board's folder, "
        "write an entry.yaml for you to fill in, and validate the entry.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="RUN_DIR",
        help="folder of the runs; it holds seed*/record.json",
    )
    parser.add_argument(
        "--entry", required=True, metavar="NAME", help="name of the entry and of its folder"
    )
    parser.add_argument(
        "--boards",
        type=Path,
        default=Path("leaderboards"),
        metavar="DIR",
        help="folder of boards (default: leaderboards)",
    )
    parser.add_argument(
        "--tuning",
        type=Path,
        metavar="FILE",
        help="trial table of the runs (default: the one in the folder tuning beside them)",
    )
    parser.add_argument(
        "--code",
        type=Path,
        metavar="FILE",
        help="enter a strategy's file without runs: whoever keeps the boards runs it; with --board",
    )
    parser.add_argument("--board", metavar="NAME", help="the board of --code")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Submit and validate the entry; print the next steps.

    Returns:
        1 where the runs cannot be entered as they are; what is only to be filled in is no error.
    """
    if arguments.code is not None:
        return _code(arguments)
    from clbench.errors import UsageError
    from clbench.leaderboard.rules.findings import place

    if arguments.folder is None or arguments.board is not None:
        raise UsageError("give RUN_DIR, the folder of finished runs, or --code FILE --board NAME")
    from clbench.leaderboard.rules.validate import validate
    from clbench.leaderboard.submit import submit
    from clbench.util.console import printable

    board, entry = submit(arguments.folder, arguments.entry, arguments.boards, arguments.tuning)
    meta, wrong = entry.folder / "entry.yaml", False
    for finding in validate(board, entry):
        is_error = finding.level == "error"
        is_open = is_error and finding.file == place(entry, meta.name)  # which is a draft
        wrong |= is_error and not is_open
        level = "to fill in" if is_open else finding.level
        print(printable(f"{level}: {finding.rule} {finding.file}: {finding.message}"))
    if wrong:
        print(f"{entry.folder}: is not valid yet: mend each error, then submit again")
        return 1
    print(f"{entry.folder}: {len(entry.records)} records. Next: fill in {meta}, then run")
    print(f"  clbench validate {entry.folder}")
    print(f"  clbench verify {entry.folder} --seeds {board.seeds[0]}")
    print(f"  clbench leaderboard {board.name} --boards {arguments.boards}")
    print(f"  git add {board.folder} && git commit -m 'Enter {entry.slug} on {board.name}'")
    return 0


def _code(arguments: argparse.Namespace) -> int:
    """Enter a file without runs; print the next steps."""
    from clbench.errors import UsageError
    from clbench.leaderboard.submit import submit_code

    if arguments.board is None or arguments.folder is not None or arguments.tuning is not None:
        raise UsageError("--code FILE goes with --board NAME, and without RUN_DIR or --tuning")
    board, entry = submit_code(arguments.code, arguments.board, arguments.entry, arguments.boards)
    meta = entry.folder / "entry.yaml"
    print(f"{entry.folder}: no records; nothing was run. Next: fill in {meta}, then run")
    print(f"  clbench validate {entry.folder}")
    print(
        f"  git add {entry.folder} {entry.source} && git commit -m 'Enter {entry.slug} on {board.name}'"
    )
    return 0
