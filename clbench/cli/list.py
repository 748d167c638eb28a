"""``clbench list``: lists the available plug-ins."""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from importlib import import_module
from typing import Any

from clbench.errors import UsageError
from clbench.plugins.registry import BRIDGES, FOLDERS_WORD, did_you_mean, plugins
from clbench.util.console import printable, wrapped

METRICS = "metrics"
EXAMPLES = """examples:
  clbench list
  clbench list strategies
  clbench list data 'cifar*'
  clbench list strategies 'avalanche:*'"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "list",
        help="list plug-ins and metrics",
        description="List the available plug-ins and metrics, with one line about each.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "kind",
        nargs="?",
        metavar="KIND",
        help=", ".join((*FOLDERS_WORD.values(), METRICS)) + " (default: all)",
    )
    parser.add_argument(
        "pattern", nargs="?", default="*", help="shell pattern of names (default: *)"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print names and descriptions."""
    kinds = {word: group for group, word in FOLDERS_WORD.items()} | {METRICS: METRICS}
    if arguments.kind is not None and arguments.kind not in kinds:
        hint = did_you_mean(arguments.kind, kinds)
        raise UsageError(f"cannot list {arguments.kind!r}{hint}; one of {', '.join(kinds)}")
    wanted = kinds if arguments.kind is None else {arguments.kind: kinds[arguments.kind]}
    found = {
        word: {
            name: line
            for name, line in _lines(group, arguments.pattern).items()
            if fnmatch.fnmatchcase(name, arguments.pattern)
        }
        for word, group in wanted.items()
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    width = max((len(name) for names in found.values() for name in names), default=0)
    for word, names in found.items():
        print(f"{word}:")
        for name, summary in names.items():
            line = printable(f"  {name:<{width}}  {summary}")
            print(wrapped(line, sys.stdout, " " * (width + 4)))
    return 0


def _lines(group: str, pattern: str) -> dict[str, str]:
    """Names with one line each; another library is imported only if the pattern names it."""
    if group == METRICS:
        from clbench.results import metrics

        return {name: metric.help for name, metric in metrics.table().items()}
    lines = {name: plugin.summary() for name, plugin in plugins(group).items()}
    name, colon, _ = pattern.partition(":")
    if colon and name in lines:
        cls = plugins(group)[name].load()
        options = cls.options() if hasattr(cls, "options") else {}
        lines.update({f"{name}:{word}": line for word, line in options.items()})
    for library, module in BRIDGES.get(group, {}).items():
        if pattern.startswith(f"{library}:"):
            options = import_module(module).options()
            lines.update({f"{library}:{name}": line for name, line in options.items()})
    return lines
