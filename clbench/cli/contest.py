"""``clbench contest``: says what is wrong with an entry, and shows it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench contest leaderboards/NAME/entries/ewc --why "it reads test labels"
"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "contest",
        help="say what is wrong with an entry of a board",
        description="Keep a reason against an entry beside the board's ledger, in "
        "contested/ENTRY.json. Pages show it, escaped; the rank stays what the verifier found.",
        epilog=EXAMPLES,
    )
    parser.add_argument("folder", type=Path, metavar="ENTRY", help="folder of the entry")
    parser.add_argument("--why", required=True, metavar="TEXT", help="what is wrong, in a sentence")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Keep the reason; print where."""
    from clbench.leaderboard.contest import contest
    from clbench.util.console import printable

    path = contest(arguments.folder, arguments.why)
    print(printable(f"{path}: clbench leaderboard shows it"))
    return 0
