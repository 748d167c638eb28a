"""``clbench board``: make and list leaderboards."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from clbench.util.console import printable

EXAMPLES = """examples:
  clbench board list
  clbench board new mine scenario=scole scenario.n_tasks=200 data=digits
  clbench board budget leaderboards/mine --entries 25 --time naive,er
  clbench board freeze mine"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "board",
        help="make and list leaderboards",
        description="A board is a frozen protocol. `new` drafts one; `budget` says what boards cost in "
        "compute, drafts from short timed runs and frozen boards from their entries; `freeze` runs the "
        "reference strategies of one, also perturbed, and fixes the protocol; `pin` writes "
        "verified/board.json, which says which protocol the ledger is of (freeze does so too).",
        epilog=EXAMPLES,
    )
    parser.add_argument("action", choices=("new", "budget", "freeze", "pin", "list"))
    parser.add_argument("name", nargs="?", help="name of the board; for budget, a folder")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings that the protocol of a new board fixes; for budget, more folders",
    )
    parser.add_argument(
        "--entries",
        type=int,
        default=25,
        metavar="N",
        help="number of entries that budget assumes for each draft (default: 25)",
    )
    parser.add_argument(
        "--time",
        metavar="NAMES",
        help="strategies that budget times of drafts, by commas (default: the lower anchor)",
    )
    parser.add_argument(
        "--boards", type=Path, metavar="DIR", help="folder of boards (default: leaderboards)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder for the runs (default: runs)",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="number of runs at a time (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Run the action."""
    from clbench.errors import UsageError

    root = arguments.boards or Path("leaderboards")
    if arguments.action == "list":
        return _list(arguments)
    if arguments.name is None:
        raise UsageError(f"the name of the board is missing: clbench board {arguments.action} NAME")
    if arguments.action == "pin":
        return _pin(arguments.name, root)
    if arguments.action == "budget":
        return _budget(arguments)
    from clbench.leaderboard import freeze

    if arguments.action == "new":
        path = freeze.new(arguments.name, arguments.overrides, root)
        print(
            f"{path}: edit title, anchors, seeds, budget and primary, then run "
            f"clbench board freeze {arguments.name}"
        )
        return 0
    from clbench.engine.execute import Options

    options = Options(out=arguments.out, jobs=arguments.jobs, curve=False)
    board = freeze.freeze(arguments.name, root, options, lambda line: print(line, file=sys.stderr))
    print(
        f"{board.folder / 'board.yaml'}: frozen; {board.primary}: floor {board.floor.mean:.4f}, "
        f"{board.naive.strategy} {board.naive.mean:.4f} ± {board.naive.sd:.4f}, "
        f"{board.ceiling.strategy} {board.ceiling.mean:.4f} ± {board.ceiling.sd:.4f} "
        f"(sd over {len(board.seeds)} seeds)"
    )
    return 0


def _pin(name: str, root: Path) -> int:
    from clbench.configure.board import find_board, pin, pin_file, pinned_sha256

    board = find_board(name, root)
    if pinned_sha256(board.folder) is None:
        pin(board)
    print(printable(f"{pin_file(board.folder)}: {board.sha256}"))
    return 0


def _budget(arguments: argparse.Namespace) -> int:
    from clbench.leaderboard import budget

    folders = [Path(word) for word in (arguments.name, *arguments.overrides)]
    names = arguments.time.split(",") if arguments.time else []
    costs = budget.budget(
        folders, arguments.entries, names, lambda line: print(line, file=sys.stderr)
    )
    print("\n".join(map(printable, budget.table(costs))))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from clbench.configure.board import builtin_boards, list_boards

    roots = [arguments.boards] if arguments.boards else [Path("leaderboards"), builtin_boards()]
    boards = {b.name: b for root in reversed(roots) for b in list_boards(root)}
    if arguments.json:
        print(
            json.dumps(
                [
                    {"name": b.name, "title": b.title, "protocol": b.protocol, "primary": b.primary}
                    for b in boards.values()
                ],
                indent=2,
            )
        )
        return 0
    for name in sorted(boards):
        board = boards[name]
        entries = sum(1 for path in board.entries.glob("*/entry.yaml"))
        line = f"{name:<28} {board.protocol}  {entries:>3} entries  {board.title}"
        print(printable(line))
    return 0
