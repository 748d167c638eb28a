"""``clbench compare``: the paired difference of two runs or entries over their seeds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.leaderboard.pairs import Pairing, Side

DEFAULT = "anytime_world_accuracy"
EXAMPLES = """examples:
  clbench compare runs/scole/ewc-1a2b3c4d runs/scole/naive-5e6f7a8b
  clbench compare ewc naive --board long-digits"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "compare",
        help="paired difference of two runs or entries",
        description="Compare two runs or entries on the seeds that both have, with a 95 % interval of "
        "the difference.",
        epilog=EXAMPLES,
    )
    parser.add_argument("a", metavar="A", help="a run folder with several seeds, or an entry")
    parser.add_argument("b", metavar="B", help="another one")
    parser.add_argument(
        "--board",
        metavar="BOARD",
        help="look A and B up in this board, and compare its primary metric",
    )
    parser.add_argument(
        "--boards", type=Path, metavar="DIR", help="folder of boards (default: leaderboards)"
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help=f"a metric (clbench list metrics) or a cost (default: {DEFAULT})",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print the difference and each seed."""
    from clbench.configure.board import find_board
    from clbench.leaderboard.pairs import find_side, pair

    board = find_board(arguments.board, arguments.boards) if arguments.board else None
    primary = board.primary if board else DEFAULT
    metric = arguments.metric or primary
    a, b = find_side(arguments.a, board), find_side(arguments.b, board)
    found = pair(a, b, metric, failed_is_zero=board is not None and metric == primary)
    if arguments.json:
        print(json.dumps(_plain(metric, a, b, found), indent=2))
    else:
        _print(metric, a, b, found)
    return 0


def _plain(metric: str, a: Side, b: Side, found: Pairing) -> dict[str, Any]:
    difference = found.result.difference
    return {
        "metric": metric,
        "a": a.name,
        "b": b.name,
        "difference": difference.mean,
        "half_width": difference.half_width,
        "p_value": found.result.p_value,
        "n": difference.n,
        "seeds": [pair._asdict() for pair in found.pairs],
        "left_out": found.left_out,
    }


def _print(metric: str, a: Side, b: Side, found: Pairing) -> None:
    from clbench.leaderboard.pages.columns import by_key, number, with_interval
    from clbench.util.console import one_line
    from clbench.util.grid import Head, print_table
    from clbench.util.text import clean

    column = by_key()[metric]
    column = column._replace(digits=column.digits + 1)
    heads = [Head("seed", stays=True)]
    heads += [Head(clean(side.name, 24), stays=True) for side in (a, b)] + [Head("difference")]
    rows = [
        [str(one.seed), *(number(v, column) for v in (one.a, one.b, one.a - one.b))]
        for one in found.pairs
    ]
    print_table(heads, rows, title=column.title)
    difference = found.result.difference
    print(f"difference {with_interval(difference, column)} (95 % interval), {_verdict(found)}")
    for line in found.left_out:
        print(f"left out: {one_line(line)}", file=sys.stderr)
    if found.alike:
        seeds = " ".join(map(str, found.alike))
        print(
            f"clbench: warning: both sides have the same answers on seeds {seeds}", file=sys.stderr
        )


def _verdict(found: Pairing) -> str:
    n = found.result.difference.n
    if n < 2:
        return "one seed: its spread is unknown; run more seeds"
    p = found.result.p_value
    p_value = "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}"
    return f"{p_value}, paired t-test over {n} seeds"
