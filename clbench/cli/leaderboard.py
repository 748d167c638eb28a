"""``clbench leaderboard``: renders the tables and pages of boards from their entries."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from clbench.util.console import printable

EXAMPLES = """examples:
  clbench leaderboard
  clbench leaderboard long-digits
  clbench leaderboard --check       (in CI: fails if a file is out of date)"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "leaderboard",
        help="render the tables and pages of boards",
        description="Check and rank entries. Write README.md, leaderboard.csv and index.html of each "
        "board, and the index of all boards.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "boards_named",
        nargs="*",
        metavar="BOARD",
        help="names or folders of boards (default: all boards, and the index)",
    )
    parser.add_argument(
        "--boards",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folder of boards (default: leaderboards); the boards of further folders, of other "
        "repositories, are shown in the index and in boards.json as their word",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file is out of date"
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="write nothing; print as JSON the entries whose row differs from those boards",
    )
    parser.add_argument(
        "--comment",
        type=Path,
        metavar="FILE",
        help="write nothing; print such a file as Markdown, escaped and bounded, whoever wrote it",
    )
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Render the pages; print the files that were written, or that are out of date."""
    from clbench.configure.board import find_board, list_boards
    from clbench.leaderboard.entry import refuse_without_entries
    from clbench.leaderboard.pages import render
    from clbench.leaderboard.pages.summary import summarise
    from clbench.leaderboard.rules.validate import validate

    if arguments.comment is not None:
        from clbench.leaderboard.pages.difference import comment

        print(comment(arguments.comment), end="")
        return 0
    root, *others = arguments.boards or [Path("leaderboards")]
    if arguments.against is not None:
        from clbench.leaderboard.pages.difference import difference

        _refuse_none(root)
        print(json.dumps(difference(root, arguments.against, validate), indent=1))
        return 0
    if arguments.boards_named:
        files: dict[Path, str] = {}
        for name in arguments.boards_named:
            board = find_board(name, root)
            refuse_without_entries(board)
            files |= render.board_files(board, summarise(board, validate))
        if not arguments.check:
            print(
                "clbench: the index was not written; run clbench leaderboard without BOARD",
                file=sys.stderr,
            )
    else:
        for folder in (root, *others):
            _refuse_none(folder)
        for board in list_boards(root):
            refuse_without_entries(board)
        files = render.render_all(root, validate, others)
    if arguments.check:
        old = render.stale(files)
        for path in old:
            print(printable(f"{path}: out of date; run clbench leaderboard"))
        return 1 if old else 0
    for path in render.write(files):
        print(printable(str(path)))
    return 0


def _refuse_none(root: Path) -> None:
    """Refuse a folder without boards, so that the installed package's boards are never rewritten.

    Raises:
        UsageError: the folder holds no board.
    """
    from clbench.errors import UsageError

    if not any(root.glob("*/board.yaml")):
        raise UsageError(
            f"{root}: holds no board; change to the folder above it, or give --boards DIR"
        )
