"""``clbench validate``: checks entries and boards against every rule."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench.util.console import printable

if TYPE_CHECKING:
    from clbench.configure.board import Board
    from clbench.leaderboard.rules.findings import Finding

EXAMPLES = """examples:
  clbench validate
  clbench validate leaderboards/long-digits/entries/my-ewc
  clbench validate --against ../main/leaderboards
  clbench validate --since origin/main"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "validate",
        help="check entries and boards against every rule",
        description="Check entries or whole boards. Every rule runs, and every finding names the file "
        "and the fix. A finding of level `review` asks for the entry to be run again; it is no error.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="folder of an entry, of a board, or of several boards (default: all boards)",
    )
    parser.add_argument(
        "--boards", type=Path, metavar="DIR", help="folder of boards (default: leaderboards)"
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="an earlier state of the boards; every change since then needs a reason",
    )
    parser.add_argument(
        "--since",
        metavar="REF",
        help="check a contribution: everything that git says has changed since REF must be a new entry "
        "or a source that is named by its hash, and the new entries must be valid",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument(
        "--schema",
        choices=(
            *("record", "entry", "verified", "board", "draft", "tuning", "reproduction"),
            *("contested", "boards"),
        ),
        metavar="KIND",
        help="print the JSON Schema of a kind of file (record, entry, verified, board, draft, tuning, "
        "reproduction, contested, boards), and check nothing",
    )
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print every finding; return 1 if any is an error."""
    if arguments.schema:
        from clbench.leaderboard.models import json_schema

        print(json.dumps(json_schema(arguments.schema), indent=2, sort_keys=True))
        return 0
    findings: list[dict[str, str]] = []
    n_errors = 0
    for board, folder, finding in _findings(arguments):
        n_errors += finding.level == "error"
        file = printable((folder / finding.file).as_posix())
        if arguments.json:
            findings.append({"board": board, **dataclasses.asdict(finding)})
        else:
            print(f"{finding.level:<7} {finding.rule} {file}: {finding.message}", flush=True)
    if arguments.json:
        print(json.dumps(findings, indent=2))
    print(f"{n_errors} errors" if n_errors else "valid", file=sys.stderr)
    return 1 if n_errors else 0


def _findings(arguments: argparse.Namespace) -> Iterator[tuple[str, Path, Finding]]:
    """Findings with the board's name (empty for what boards share) and the folder of the file."""
    if arguments.since is not None:
        yield from _since(arguments)
        return
    from clbench.configure.board import load_board
    from clbench.leaderboard.entry import load_entry, refuse_without_entries
    from clbench.leaderboard.rules.findings import error
    from clbench.leaderboard.rules.shared import validate_sources
    from clbench.leaderboard.rules.validate import changes, validate, validate_board

    for folder in arguments.folders or [_boards(arguments.boards)]:
        short = len(folder.parts) < 3 or ".." in folder.parts
        owner = (Path(os.path.abspath(folder)) if short else folder).parent.parent
        if not (folder / "board.yaml").is_file() and (owner / "board.yaml").is_file():
            board = load_board(owner)
            entry = load_entry(folder)
            refuse_without_entries(board)
            for finding in validate(board, entry):
                yield board.name, board.folder, finding
            before = _before(board, arguments.against)
            for finding in changes(board, before, entry) if before else ():
                yield board.name, board.folder, finding
            continue
        boards, malformed = _boards_in(folder)
        for name, wrong in malformed.items():
            yield name, folder, error("S1", f"{name}/board.yaml", wrong)
        for board in boards:
            refuse_without_entries(board)
            for finding in validate_board(board, _before(board, arguments.against)):
                yield board.name, board.folder, finding
        if not (folder / "board.yaml").is_file():
            for finding in validate_sources(folder):
                yield "", folder, finding


def _since(arguments: argparse.Namespace) -> Iterator[tuple[str, Path, Finding]]:
    """Findings about a contribution; its entries are looked at once its paths are in order."""
    from clbench.configure.board import load_board
    from clbench.errors import UsageError
    from clbench.leaderboard.entry import load_entry
    from clbench.leaderboard.rules import since
    from clbench.leaderboard.rules.validate import validate

    if arguments.folders or arguments.against:
        raise UsageError("--since looks at all that changed: drop FOLDER and --against")
    root = _boards(arguments.boards)
    found = since.changes(root, arguments.since)
    wrong = [*since.faults(root, arguments.since, found)]
    for finding in wrong:
        yield "", root, finding
    for folder in since.new_entries(root, found) if not wrong else ():
        board = load_board(folder.parent.parent)
        for finding in validate(board, load_entry(folder)):
            yield board.name, board.folder, finding


def _boards(given: Path | None) -> Path:
    from clbench.configure.board import builtin_boards

    here = Path("leaderboards")
    return given or (here if any(here.glob("*/board.yaml")) else builtin_boards())


def _boards_in(folder: Path) -> tuple[list[Board], dict[str, str]]:
    """Load the board in a folder, or all boards below it; what is wrong with those that are none.

    Raises:
        UsageError: there is no board, or the one that is named is malformed.
    """
    from clbench.configure.board import load_board
    from clbench.errors import UsageError

    if os.path.lexists(folder / "board.yaml"):
        return [load_board(folder)], {}
    found, malformed = [], {}
    for path in sorted(folder.glob("*/board.yaml")) if folder.is_dir() else []:
        try:
            found.append(load_board(path.parent))
        except UsageError as error:
            malformed[path.parent.name] = str(error).removeprefix(f"{path}: ")
    if not found and not malformed:
        raise UsageError(
            f"{folder}: is no board, holds no board, and is no entry of a board "
            "(leaderboards/BOARD/entries/NAME)"
        )
    return found, malformed


def _before(board: Board, against: Path | None) -> Board | None:
    """Load the earlier state of a board; None if it is new or ``against`` is not given.

    Raises:
        UsageError: ``against`` holds no board.
    """
    return (
        next((b for b in _boards_in(against)[0] if b.name == board.name), None) if against else None
    )
