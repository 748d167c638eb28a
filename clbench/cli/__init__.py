"""The command line: one file per subcommand, which parses, calls and prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from clbench.cli import (
    board,
    cache,
    check,
    compare,
    completion,
    contest,
    data,
    export,
    fisher,
    leaderboard,
    list,
    predict,
    report,
    reproduce,
    results,
    run,
    show,
    status,
    submit,
    tune,
    validate,
    verify,
)
from clbench.errors import ClbenchError, UsageError
from clbench.util import stopping
from clbench.util.console import let_go, one_line, show_everything

COMMANDS = (
    run,
    list,
    show,
    check,
    results,
    report,
    status,
    compare,
    contest,
    reproduce,
    predict,
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
EPILOG = """examples:
  clbench list
  clbench run scenario=scole strategy=naive,ewc

exit codes: 0 done, 1 a run or check failed, 2 usage error, 130 interrupted"""


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps text of one paragraph; text with line breaks, such as examples, keeps its lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        keep = "\n" in text
        if keep:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class Parser(argparse.ArgumentParser):
    """Reports a usage error in one line, without the usage above it."""

    def format_help(self) -> str:
        """The help text, with every example on a line of its own."""
        self.formatter_class = Formatter
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"clbench: error: {one_line(message)} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all subcommands."""
    parser = Parser(
        prog="clbench",
        description="Continual-learning benchmarks: streams of thousands of tasks, and records "
        "that anyone can check.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    show_everything(sys.stdout, sys.stderr)
    try:
        with stopping.interrupting() as came:
            try:
                return _main(argv, came)
            except Exception as error:
                if not came():
                    raise
                raise KeyboardInterrupt from error
    except BrokenPipeError:  # the reader has closed the pipe (clbench list --help | head)
        return 0
    except KeyboardInterrupt as error:  # before the command has begun
        return explain(error)
    finally:
        let_go(sys.stdout, sys.stderr)


def _main(argv: Sequence[str] | None, came: Callable[[], bool]) -> int:
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
    return call(arguments, came)


def call(arguments: argparse.Namespace, came: Callable[[], bool] = lambda: False) -> int:
    """Run a parsed command; an error becomes one line on stderr and an exit code.

    Args:
        arguments: what was parsed.
        came: whether a signal came. Python itself turns the interruption into another error where it
            is importing compiled code or making a class.
    """
    try:
        code: int = arguments.call(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (ClbenchError, KeyboardInterrupt, OSError) as error:
        if getattr(arguments, "debug", False) or os.environ.get("CLBENCH_DEBUG"):
            raise
        return explain(KeyboardInterrupt() if came() else error)


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse words; unlike argparse alone, allow options between the ``key=value`` words."""
    arguments, rest = parser.parse_known_args(words)
    if not hasattr(arguments, "overrides") or any(word.startswith("-") for word in rest):
        arguments = parser.parse_args(words)
    else:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


def explain(error: BaseException) -> int:
    """Print an error as one line on stderr and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        print("clbench: interrupted", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):
        return 0  # the reader of stdout has closed it (clbench list | head)
    text = str(error)
    if isinstance(error, OSError) and not isinstance(error, ClbenchError):
        text = ": ".join(
            str(part)[:200] for part in (error.filename, error.strerror or error) if part
        )
    print(f"clbench: error: {one_line(text)}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1
