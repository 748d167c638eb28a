"""``clbench results``: tables and plots of a folder of runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench results runs
  clbench results runs/scole --format latex
  clbench results runs --plot curves.png"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "results",
        help="print a table of a folder of runs, and plot it",
        description="Read every record below a folder and aggregate over seeds. A terminal too narrow "
        "for the table gets fewer columns: they are left out from the right, and a line names them.",
        epilog=EXAMPLES,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of runs")
    parser.add_argument(
        "--format", choices=("table", "md", "csv", "latex", "json"), default="table"
    )
    parser.add_argument(
        "--groups",
        action="store_true",
        help="print the accuracy of each group, as Markdown",
    )
    parser.add_argument(
        "--classes",
        action="store_true",
        help="print the accuracy of each class, as Markdown",
    )
    parser.add_argument(
        "--factors",
        action="store_true",
        help="print the accuracy by attributes of the test samples, as Markdown",
    )
    parser.add_argument(
        "--online",
        action="store_true",
        help="print the online accuracy of each task (prequential=true), as CSV",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="plot the curves to a png, pdf or svg file"
    )
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print the table in the chosen format."""
    from clbench.errors import UsageError
    from clbench.results import classes, online_tables, tables
    from clbench.util.console import one_line

    if not arguments.folder.is_dir():
        raise UsageError(f"{arguments.folder}: no such folder")
    damaged: list[str] = []
    repeated: list[str] = []
    records = tables.load_all(arguments.folder, damaged.append, repeated.append)
    for line in (*damaged, *repeated):
        print(f"clbench: warning: {one_line(line)}", file=sys.stderr)
    if not records:
        raise UsageError(f"{arguments.folder}: holds no record.json")
    rows = tables.summarise(records)
    if arguments.plot:
        from clbench.results.plots import save_comparison

        save_comparison(records, arguments.plot)
    writers = {
        "md": tables.to_markdown,
        "csv": tables.to_csv,
        "latex": tables.to_latex,
        "json": tables.to_json,
    }
    if arguments.groups:
        print(tables.groups_to_markdown(records), end="")
    elif arguments.classes:
        print(classes.to_markdown(records), end="")
    elif arguments.factors:
        print(tables.factors_to_markdown(records), end="")
    elif arguments.online:
        print(online_tables.to_csv(records), end="")
    elif arguments.format == "table":
        tables.print_table(rows)
    else:
        print(writers[arguments.format](rows), end="")
    if arguments.format == "md" and not (
        arguments.groups or arguments.classes or arguments.factors or arguments.online
    ):
        print("\n" + tables.definitions_to_markdown(rows), end="")
    return 1 if damaged else 0
