"""``clbench report``: a folder of runs as one page."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench report runs
  clbench report runs/scole -o scole.html
  clbench report runs --watch"""
WATCH_SECONDS = 5.0


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "report",
        help="write a folder of runs as one page",
        description="Write one HTML file of every record below a folder: tables that sort and filter, "
        "curves, forgetting, accuracy against bytes and operations, the matrices of each arm, settings "
        "that differ, costs and environments. It needs no network and no other file.",
        epilog=EXAMPLES,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of runs")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="the file to write (default: report.html)",
    )
    parser.add_argument("--title", metavar="TEXT", help="title of the page (default: Runs in DIR)")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="look every 5 s and write it anew when runs have ended, until Ctrl-C",
    )
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Write the page; with ``--watch``, whenever the records have changed."""
    from clbench.errors import UsageError

    if not arguments.folder.is_dir():
        raise UsageError(f"{arguments.folder}: no such folder")
    if arguments.out.suffix not in (".html", ".htm"):
        raise UsageError(f"-o {arguments.out}: the name of a page ends in .html")
    code, before = 0, None
    while True:
        now = state(arguments.folder)
        if now != before:
            code = write(
                arguments.folder, arguments.out, arguments.title, is_waiting=arguments.watch
            )
            before = now
        if not arguments.watch:
            return code
        time.sleep(WATCH_SECONDS)


def state(folder: Path) -> list[tuple[str, int, int]]:
    """Which records there are, with their sizes and times."""
    found = []
    for path in sorted(folder.rglob("record.json")):
        try:
            about = path.stat()
        except FileNotFoundError:  # replaced while we looked
            continue
        found.append((str(path), about.st_size, about.st_mtime_ns))
    return found


def write(folder: Path, out: Path, title: str | None, *, is_waiting: bool) -> int:
    """Write the page once; returns 1 where a record is damaged.

    Raises:
        UsageError: there is no record, and none is waited for.
    """
    from clbench.errors import UsageError
    from clbench.report.page import to_html
    from clbench.results.summary import load_all
    from clbench.util.atomic import write_atomically
    from clbench.util.console import one_line

    damaged: list[str] = []
    records = load_all(folder, damaged.append)
    for line in damaged:
        print(f"clbench: warning: {one_line(line)}", file=sys.stderr)
    if not records and not is_waiting:
        raise UsageError(f"{folder}: holds no record.json")
    name = title or f"Runs in {folder.absolute().name}"
    data = to_html(name, records, damaged).encode()
    if not out.absolute().parent.is_dir():
        raise UsageError(f"-o {out}: no such folder {out.parent}")
    write_atomically(out, data)
    print(f"{out}: {len(records)} runs, {len(data) / 1e6:.2f} MB", flush=True)
    return 1 if damaged else 0
