"""``clbench verify``: runs an entry again and compares the results."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench verify leaderboards/scole-digits/entries/ewc --seeds 0
  clbench verify leaderboards/scole-digits --prefix 50
  clbench verify ENTRY --held-out < secret"""
NOTICE = (
    "verify runs the entry's own code. --isolate runs it in a process without network, home folder "
    "or labels, and with limits; this is hygiene, not a sandbox for hostile code."
)


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "verify",
        help="run an entry again and compare the results",
        description="Run seeds of an entry again. At random tasks the strategy is rebuilt from its "
        "state in a new process. On the same platform the predictions must be equal bit for bit. "
        + NOTICE,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "folder", type=Path, metavar="ENTRY", help="folder of an entry, or of a board"
    )
    parser.add_argument(
        "--seeds", metavar="LIST", help="0,1 or 0..4 or all (default: the board's first seed)"
    )
    parser.add_argument(
        "--prefix", type=int, metavar="N", help="run and compare the first N tasks only"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="number of entries at a time (default: 1)"
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="run without network, home folder or labels, and with limits",
    )
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="run on fresh data, generated from a secret read from stdin",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Verify one entry, or every entry of a board; return 1 if any fails."""
    from clbench.configure.board import load_board
    from clbench.errors import UsageError
    from clbench.leaderboard.entry import load_entry

    folder: Path = arguments.folder
    if (folder / "board.yaml").is_file():
        board, folders = (
            load_board(folder),
            sorted(p.parent for p in folder.glob("entries/*/entry.yaml")),
        )
    elif (folder / "entry.yaml").is_file():
        board, folders = load_board(folder.resolve().parent.parent), [folder]
    else:
        raise UsageError(f"{folder}: holds neither entry.yaml nor board.yaml")
    if arguments.prefix is not None and arguments.prefix < 2:
        raise UsageError(f"--prefix {arguments.prefix}: must be at least 2")
    if not arguments.isolate and not arguments.json:
        print(NOTICE, file=sys.stderr)
    secret = sys.stdin.buffer.read().strip() if arguments.held_out else b""
    if arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: must be at least 1")
    if arguments.jobs > 1 and (arguments.isolate or arguments.held_out):
        raise UsageError(
            "--jobs cannot be combined with --isolate or --held-out, which verify one entry at a time"
        )

    def one(path: Path) -> tuple[list[Any], bool]:
        return _verify(board, load_entry(path), secret, arguments)

    failed, results = 0, []
    with ThreadPoolExecutor(arguments.jobs) as pool:  # each entry runs in processes of its own
        for lines, passed in pool.map(one, folders):
            failed += not passed
            results += lines
    if arguments.json:
        print(json.dumps(results, indent=2))
    return 1 if failed else 0


def _verify(
    board: Any, entry: Any, secret: bytes, arguments: argparse.Namespace
) -> tuple[list[Any], bool]:
    from clbench.leaderboard.reproduce.held_out import held_out
    from clbench.leaderboard.reproduce.verify import reproduce
    from clbench.leaderboard.verification import write_verification
    from clbench.util.console import one_line, printable

    def tell(line: str) -> None:
        print(one_line(line), file=sys.stderr)

    seeds = _seeds(arguments.seeds, board.seeds)
    if arguments.held_out:
        result = held_out(board, entry, secret, seeds, isolate=arguments.isolate, tell=tell)
        if not arguments.json:
            print(
                f"{entry.slug}: {'held out' if result.passed else 'FAILED held-out'}: on a scale from "
                f"{board.naive.strategy} (0) to {board.ceiling.strategy} (1), "
                f"{result.claimed:.2f} on the board and {result.found:.2f} on fresh data; "
                f"commitment {result.commitment}"
            )
        if result.passed:
            write_verification(entry, "held-out", seeds, dataclasses.asdict(result))
        return [{"entry": entry.slug, **dataclasses.asdict(result)}], result.passed
    found = reproduce(
        board, entry, seeds, prefix=arguments.prefix, isolate=arguments.isolate, tell=tell
    )
    for one in found:
        if not arguments.json:
            mark = "ok  " if one.passed else "FAIL"
            print(printable(f"{mark} {entry.slug} seed {one.seed}: {one.message}"))
    passed = all(one.passed for one in found)
    if passed and arguments.prefix is None:
        write_verification(
            entry,
            "reproduced",
            seeds,
            {
                "bits": all(one.bits for one in found),
                "isolated": arguments.isolate,
                "messages": [f"seed {one.seed}: {one.message}" for one in found],
            },
        )
    return [{"entry": entry.slug, **dataclasses.asdict(one)} for one in found], passed


def _seeds(text: str | None, every: tuple[int, ...]) -> list[int]:
    from clbench.configure.sweep import split_top
    from clbench.errors import UsageError

    if text is None:
        return [every[0]]
    if text == "all":
        return list(every)
    try:
        return [int(part) for part in split_top(text)]
    except ValueError as error:
        raise UsageError(f"--seeds {text}: write 0,1 or 0..4 or all") from error
