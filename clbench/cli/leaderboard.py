"""``clbench leaderboard``: tables and pages, from the entries alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "leaderboard",
        help="render the tables and pages of boards",
        description="Check entries, rank them, and write README.md, leaderboard.csv and "
        "index.html of boards, and the index over all.",
        epilog="examples: clbench leaderboard    clbench leaderboard scole-digits    "
        "clbench leaderboard --check (in CI: fails if anything is out of date)",
    )
    parser.add_argument(
        "boards_named",
        nargs="*",
        metavar="BOARD",
        help="names or folders of boards (all, and the index)",
    )
    parser.add_argument(
        "--boards", type=Path, metavar="DIR", help="a folder of boards (leaderboards)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if a file is out of date"
    )
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Render; stdout gets the files that were written, or are out of date."""
    from clbench.configure.board import find_board
    from clbench.leaderboard.pages import render
    from clbench.leaderboard.rules.validate import validate
    from clbench.leaderboard.summary import summarise

    root = arguments.boards or Path("leaderboards")
    if arguments.boards_named:
        files: dict[Path, str] = {}
        for name in arguments.boards_named:
            board = find_board(name, root)
            files |= render.board_files(board, summarise(board, validate))
        if not arguments.check:
            print("clbench: the index over all boards is written without BOARD", file=sys.stderr)
    else:
        _refuse_none(root)
        files = render.render_all(root, validate)
    if arguments.check:
        old = render.stale(files)
        for path in old:
            print(f"{path}: out of date; run clbench leaderboard")
        return 1 if old else 0
    for path in render.write(files):
        print(path)
    return 0


def _refuse_none(root: Path) -> None:
    """Never, unless told so, the boards of the installed package.

    Raises:
        UsageError: the folder holds no board.
    """
    from clbench.errors import UsageError

    if not any(root.glob("*/board.yaml")):
        raise UsageError(f"{root}: holds no board; go where your boards are, or give --boards DIR")
