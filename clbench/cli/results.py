"""``clbench results``: tables and plots of a folder of runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench results runs
  clbench results runs/scole --format latex
  clbench results runs --columns world_accuracy,forgetting --sort forgetting
  clbench results runs --plot curves.png
  clbench results runs --plot matrix.png --plot-kind matrix"""
PLOT_KINDS = ("curves", "matrix", "forgetting", "classes", "confusion", "bytes", "operations")


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "results",
        help="print a table of a folder of runs, and plot it",
        description="Read every record below a folder and aggregate over seeds. A terminal too narrow "
        "for the table gets fewer columns: they are left out from the right, and a line names them. "
        "LaTeX and Markdown have the best of each scenario in bold.",
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
        "--columns",
        metavar="A,B",
        help="columns to show, in this order: names as in --format csv, such as world_accuracy",
    )
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help="sort the arms of each scenario, the best in COLUMN first; strategy: by name",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="plot completed runs to a png, pdf or svg file; a panel for each scenario, the best arm "
        "first",
    )
    parser.add_argument(
        "--plot-kind",
        choices=PLOT_KINDS,
        metavar="KIND",
        help="what --plot draws. curves (the default): accuracy over the stream, on the tasks so far "
        "where each brings something new, else on the whole world. For each arm: matrix (accuracy on "
        "each task after each task), classes (accuracy of each class over the stream), confusion (at "
        "the end). forgetting: of each task. bytes, operations: what accuracy at the end costs",
    )
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print the table in the chosen format."""
    from clbench.errors import UsageError
    from clbench.results import classes, latex, online_tables, tables
    from clbench.util.console import one_line

    if arguments.plot_kind and not arguments.plot:
        raise UsageError(f"--plot-kind {arguments.plot_kind} goes with --plot FILE")
    shown = tables.chosen(arguments.columns) if arguments.columns else None
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
    if arguments.sort:
        rows = tables.ordered(rows, arguments.sort)
    if arguments.plot:
        from clbench.results import panels

        kind = arguments.plot_kind or PLOT_KINDS[0]
        panels.save(records, arguments.plot, kind)
        done = sum(record.status == "completed" for record in records)
        print(f"{one_line(str(arguments.plot))}: {kind} of {done} completed runs", file=sys.stderr)
    writers = {"csv": tables.to_csv, "latex": latex.to_latex, "json": tables.to_json}
    if arguments.groups:
        print(tables.groups_to_markdown(records), end="")
    elif arguments.classes:
        print(classes.to_markdown(records), end="")
    elif arguments.factors:
        print(tables.factors_to_markdown(records), end="")
    elif arguments.online:
        print(online_tables.to_csv(records), end="")
    elif arguments.format == "table":
        tables.print_table(rows, shown=shown)
    elif arguments.format == "md":
        print(tables.to_markdown(rows, shown, bold=True), end="")
    else:
        print(writers[arguments.format](rows, shown), end="")
    if arguments.format == "md" and not (
        arguments.groups or arguments.classes or arguments.factors or arguments.online
    ):
        best = " best in bold;" if tables.best(rows, shown or tables.narrow(rows)) else ""
        print(f"\n- {tables.caption(rows)};{best}".rstrip(";"))
        print(tables.definitions_to_markdown(rows, shown), end="")
    return 1 if damaged else 0
