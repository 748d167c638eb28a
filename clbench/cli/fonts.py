"""``clbench data fonts``: fonts that symbols are drawn with, and the alphabets they cover."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "fonts",
        help="fonts for synbols, and what they cover",
        description="List fonts, whether they have a bold companion, and how many characters of each "
        "alphabet they have.",
        epilog="examples: clbench data fonts    clbench data fonts installed    "
        "clbench data fonts 'DejaVu*'    clbench data fonts --path FOLDER",
    )
    parser.add_argument(
        "pattern", nargs="?", help="matplotlib (its fonts), installed, or a pattern of names"
    )
    parser.add_argument("--path", type=Path, metavar="DIR", help="a folder of fonts, or one file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print a row for each font."""
    from clbench.data.synbols import fonts

    found = fonts.find(arguments.pattern or "matplotlib", arguments.path)
    rows = [
        {
            "name": font.name,
            "bold": font.bold is not None,
            "file": font.path.name,
            "covers": {name: font.covers(wanted) for name, wanted in fonts.ALPHABETS.items()},
        }
        for font in found
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    _print(rows, {name: len(wanted) for name, wanted in fonts.ALPHABETS.items()})
    print(f"{len(rows)} fonts; counts of characters, * for all of them", file=sys.stderr)
    return 0


def _print(rows: list[dict[str, Any]], sizes: dict[str, int]) -> None:
    width = max(len(row["name"]) for row in rows) if rows else 0
    for row in rows:
        covers = [
            f"{name} {count}{'*' if count == sizes[name] else ''}"
            for name, count in row["covers"].items()
            if count
        ]
        bold = "bold" if row["bold"] else ""
        print(f"{row['name']:<{width}}  {bold:<4}  {', '.join(covers) or 'no alphabet'}")
