"""``clbench reproduce``: runs published numbers and prints ours beside them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.engine.execute import Done
    from clbench.reproduce.compare import Compared
    from clbench.reproduce.shelf import Reproduction

EXAMPLES = """examples:
  clbench reproduce
  clbench reproduce hsu2018-split-mnist-domain --jobs 2
  clbench reproduce hsu2018-split-mnist-class --only naive-adam --small
  clbench reproduce --write                (writes docs/reproductions.md)"""
PAGE = Path("docs/reproductions.md")


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "reproduce",
        help="run published numbers and compare ours with them",
        description="Without NAME, list the published numbers with what each needs: data and hours. "
        "With NAME, run its rows (finished runs are not repeated, interrupted ones go on) and print "
        "ours beside theirs. A miss is a result and no error: exit code 0. A run that fails gives 1.",
        epilog=EXAMPLES,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to run (default: list all)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ROW",
        help="run this row alone; may come again",
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="run in small, on data that come with the install; comparable with nothing",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="number of runs at a time (default: 1)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder for the runs and results (default: runs)",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="take the results of --out into reproductions/results, and write docs/reproductions.md",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """List, run or write."""
    from clbench.errors import UsageError
    from clbench.reproduce import shelf

    if arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: must be at least 1")
    if arguments.only and len(arguments.names) != 1:
        raise UsageError("--only ROW goes with one NAME")
    here = Path(shelf.FOLDER)
    root = here if shelf.names(here) else shelf.builtin()
    every = [shelf.find(name, root) for name in arguments.names or shelf.names(root)]
    if arguments.write and not arguments.names:
        return _write(root, every, arguments.out)
    if not arguments.names:
        return _list(every, arguments.json, arguments.small)
    code = 0
    tables: dict[str, Any] = {}
    for of in every:
        rows, ended = _run(of, arguments)
        code = max(code, ended)
        tables[of.name] = [dataclasses.asdict(row) for row in rows]
        if not arguments.json:
            _print(of, rows, arguments.small)
        if ended == 130:
            break
    if arguments.json:
        print(json.dumps(tables, indent=2))
    if arguments.write and code != 130:
        _write(root, [shelf.find(name, root) for name in shelf.names(root)], arguments.out)
    return code


def _run(of: Reproduction, arguments: argparse.Namespace) -> tuple[list[Compared], int]:
    from clbench.cli.run import outcome
    from clbench.engine.execute import Options
    from clbench.reproduce.compare import compare, keep, run
    from clbench.reproduce.shelf import FOLDER

    def tell(done: Done) -> None:
        for line in outcome(done):
            if not arguments.quiet or done.record is None or done.record.status != "completed":
                print(line, file=sys.stderr)

    options = Options(
        out=arguments.out, resume=True, jobs=arguments.jobs, quiet=arguments.quiet, curve=False
    )
    measured, interrupted = run(of, options, arguments.only, arguments.small, tell)
    rows = compare(of, measured, arguments.small)
    if interrupted:
        return rows, 130
    keep(arguments.out / FOLDER, of.name, arguments.small, measured)
    return rows, 1 if any(row.failed for row in rows) else 0


def _list(every: list[Reproduction], as_json: bool, small: bool) -> int:
    if as_json:
        print(json.dumps([_needs(of, small) for of in every], indent=2))
        return 0
    for of in every:
        row = _needs(of, small)
        data = "data found" if row["runnable"] and not row["lacking"] else "data missing"
        print(f"{of.name}: {of.form.title}")
        print(
            f"  {row['runnable']} of {row['rows']} rows can be run, about {of.form.needs.hours:g} "
            f"hours; {data}; needs {of.form.needs.data}{'; has --small' if row['small'] else ''}"
        )
        for line in row["lacking"]:
            print(f"  {line}")
    return 0


def _needs(of: Reproduction, small: bool) -> dict[str, Any]:
    from clbench.reproduce.plan import lacking

    runnable = sum(not row.missing for row in of.form.rows)
    possible = runnable and not (small and of.form.small is None)
    return {
        "name": of.name,
        "title": of.form.title,
        "rows": len(of.form.rows),
        "runnable": runnable,
        "hours": of.form.needs.hours,
        "needs": of.form.needs.data,
        "small": of.form.small is not None,
        "lacking": lacking(of, small) if possible else [],
    }


def _print(of: Reproduction, rows: list[Compared], small: bool) -> None:
    from clbench.reproduce.page import ours, theirs
    from clbench.util.console import one_line
    from clbench.util.grid import Head, print_table

    titles = ("row", "ours", "published", "verdict", "difference", "tolerance")
    cells = []
    for row in rows:
        gap = "" if row.difference is None else f"{row.difference:+.2f}"
        cells.append([row.row, ours(row), theirs(row), row.verdict, gap, f"{row.tolerance:g}"])
    print_table(
        [Head(t, right=t not in ("row", "verdict"), stays=t in ("row", "ours")) for t in titles],
        cells,
        title=of.form.title,
        more="--json has them",
    )
    for network in sorted({row.network for row in rows if row.network}):
        print(f"network: {network}")
    for row in rows:
        for line in row.failed:
            print(one_line(f"{row.row}: {line}"), file=sys.stderr)
    if not small:
        for line in of.form.deviates:
            print(f"deviates: {line}")


def _write(root: Path, every: list[Reproduction], out: Path) -> int:
    from clbench.errors import UsageError
    from clbench.reproduce import shelf
    from clbench.reproduce.compare import keep, load, results_path
    from clbench.reproduce.page import page
    from clbench.util.atomic import write_atomically

    if root != Path(shelf.FOLDER) or not PAGE.parent.is_dir():
        raise UsageError(
            f"--write writes {PAGE} of a checkout; run it in a folder with {shelf.FOLDER}/ and docs/"
        )
    for of in every:
        for small in (False, True):
            path = results_path(out / shelf.FOLDER, of.name, small)
            if path.is_file():
                keep(root / "results", of.name, small, load(path))
    write_atomically(PAGE, page(every, root / "results").encode())
    print(PAGE)
    return 0
