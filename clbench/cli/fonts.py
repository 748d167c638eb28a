"""``clbench data fonts``: lists fonts and the alphabets they cover."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench data fonts
  clbench data fonts installed
  clbench data fonts 'DejaVu*'
  clbench data fonts --path FOLDER"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "fonts",
        help="list fonts and the alphabets they cover",
        description="List fonts. For each, show whether it has a bold version and how many characters "
        "of each alphabet it covers.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "pattern",
        nargs="?",
        help="matplotlib (the fonts it brings), installed, or a shell pattern of names (default: "
        "matplotlib)",
    )
    parser.add_argument("--path", type=Path, metavar="DIR", help="a folder of fonts, or one file")
    parser.add_argument("--json", action="store_true", help="print as JSON")
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
    print(f"{len(rows)} fonts; the counts are characters covered, * means all", file=sys.stderr)
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
