"""``python -m benchmarks.study``: many runs, joined into one page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clbench.cli import Parser, call, parse

if TYPE_CHECKING:
    from clbench.engine.execute import Done


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = Parser(
        prog="python -m benchmarks.study",
        description="Run a study and write its page (Markdown) and figure. latent: gradient-free "
        "heads against an MLP with replay, on latents of several encoders, with the further runs that "
        "the metrics need. A finished run is not repeated.",
        epilog="example: python -m benchmarks.study latent data=mnist5k seed=0..2 mlp_head.epochs=20",
    )
    parser.add_argument("name", choices=("latent",), help="which study")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="in place of its own")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder for the runs (default: runs)",
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="the page (latent.md in the folder of --out)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the runs and their folders, train nothing"
    )
    parser.add_argument("--resume", action="store_true", help="continue interrupted runs")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="number of runs at a time (default: 1)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    parser.set_defaults(call=run)
    return call(parse(parser, sys.argv[1:] if argv is None else argv))


def run(arguments: argparse.Namespace) -> int:
    """Run the study and print the path of its page."""
    from benchmarks.study.latent import study
    from benchmarks.study.plan import plan
    from clbench.cli.run import outcome, print_plan
    from clbench.engine.execute import Options
    from clbench.errors import UsageError

    if arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: must be at least 1")
    options = Options(
        out=arguments.out,
        resume=arguments.resume,
        jobs=arguments.jobs,
        quiet=arguments.quiet,
    )
    if arguments.dry_run:
        return print_plan(plan(arguments.overrides).points, options)

    def tell(done: Done) -> None:
        if not arguments.quiet or done.record is None or done.record.status != "completed":
            for line in outcome(done):
                print(line, file=sys.stderr)

    page = arguments.page or arguments.out / "latent.md"
    result = study(arguments.overrides, options, page, tell)
    if result is None:
        return 130
    print(page)
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
