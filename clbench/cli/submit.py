"""``clbench submit``: enters finished runs on a leaderboard."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench submit runs/scole/ewc-1a2b3c4d --entry my-ewc"""


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
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Submit and validate the entry; print the next steps.

    Returns:
        1 where the runs cannot be entered as they are; what is only to be filled in is no error.
    """
    from clbench.leaderboard.rules.findings import place
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
