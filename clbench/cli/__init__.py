"""The command line: one file per subcommand; each parses, calls, prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from clbench.cli import (
    board,
    cache,
    check,
    compare,
    completion,
    data,
    export,
    fisher,
    leaderboard,
    list,
    results,
    run,
    show,
    submit,
    tune,
    validate,
    verify,
)
from clbench.errors import ClbenchError, UsageError

COMMANDS = (
    run,
    list,
    show,
    check,
    results,
    compare,
    export,
    fisher,
    cache,
    data,
    board,
    tune,
    submit,
    validate,
    verify,
    leaderboard,
    completion,
)
EXIT_CODES = "exit codes: 0 done, 1 a run or check failed, 2 usage, 130 interrupted"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"clbench: error: {' '.join(message.split())} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = Parser(
        prog="clbench",
        description="Continual-learning benchmarks: streams of thousands of tasks, honest records.",
        epilog="try: clbench run scenario=scole strategy=naive,ewc    " + EXIT_CODES,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    words = sys.argv[1:] if argv is None else [*argv]
    parser = build_parser()
    completion.answer(parser)
    arguments = parse(parser, words)
    if arguments.version:
        from importlib.metadata import version

        print(f"clbench {version('clbench')}")
        return 0
    if arguments.command is None:
        parser.print_help()
        return 2
    return call(arguments)


def call(arguments: argparse.Namespace) -> int:
    """Do what a command line asks for; errors are one line on stderr, and the exit code."""
    try:
        code: int = arguments.call(arguments)
        sys.stdout.flush()
        return code
    except (ClbenchError, KeyboardInterrupt, BrokenPipeError) as error:
        if getattr(arguments, "debug", False) or os.environ.get("CLBENCH_DEBUG"):
            raise
        return explain(error)


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Options may stand between the ``key=value`` words, which argparse alone does not allow."""
    arguments, rest = parser.parse_known_args(words)
    if not hasattr(arguments, "overrides") or any(word.startswith("-") for word in rest):
        arguments = parser.parse_args(words)
    else:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


def explain(error: BaseException) -> int:
    """One line on stderr, and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        print("clbench: interrupted", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):
        # Whoever read stdout has gone (clbench list | head); nothing may be flushed to it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    print(f"clbench: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1
