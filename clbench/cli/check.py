"""``clbench check``: contract tests of a plug-in."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

from clbench.errors import UsageError
from clbench.plugins.registry import FOLDERS, Plugin, find
from clbench.util.console import printable

EXAMPLES = """examples:
  clbench check mine.py                     (a strategy)
  clbench check scenario=mine.py
  clbench check strategy=ewc
  clbench check strategy=avalanche:EWC strategy.ewc_lambda=1
  clbench check strategy=coda_prompt model=vit_tiny model.tune=head"""
WITH_SETTINGS = ("strategy.", "tracker.", "model.")
"""Groups whose plug-ins may be checked with other settings than their defaults."""
MODEL = "model="


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "check",
        help="run the contract tests on a plug-in",
        description="Run the contract tests, which every built-in plug-in passes, on your own file.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "what",
        nargs="+",
        metavar="group=name",
        help="what to check: a strategy's file, group=name or group=file; and settings as "
        "strategy.setting=value. Beside a strategy, model=name and model.setting=value say what "
        "network it is tried with",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print each check as it ends; return 1 if any fails."""
    from clbench.checks import check

    words = [word for word in arguments.what if not word.startswith(WITH_SETTINGS)]
    given = [_setting(word) for word in arguments.what if word.startswith(WITH_SETTINGS)]
    on = [word for word in words if word.startswith(MODEL)]
    of_strategies = any(_group(word) == "strategy" for word in words)
    if of_strategies:
        words = [word for word in words if not word.startswith(MODEL)]
        if len(on) > 1:
            raise UsageError(f"{on[0]} {on[1]}: a strategy is tried with one model")
    targets = [
        replace(plugin, given=_given(plugin, given, on if of_strategies else []))
        for plugin in map(_find, words)
    ]
    found, failed = [], 0
    for plugin in targets:
        for finding in check(plugin):
            failed += not finding.passed
            if arguments.json:
                found.append(
                    {
                        "plugin": plugin.name,
                        "check": finding.check,
                        "passed": finding.passed,
                        "message": finding.message,
                    }
                )
                continue
            mark = "ok  " if finding.passed else "FAIL"
            text = f"  {finding.message}" if finding.message else ""
            print(printable(f"{mark} {plugin.name}: {finding.check}{text}"), flush=True)
    if arguments.json:
        print(json.dumps(found, indent=2))
    print(f"{failed} checks failed" if failed else "all checks passed", file=sys.stderr)
    return 1 if failed else 0


def _setting(word: str) -> tuple[str, str, str]:
    """Split ``strategy.setting=value`` into the group, the setting and its value."""
    group, _, setting = word.partition(".")
    name, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"expected {group}.setting=value, got {word!r}")
    return group, name, value


def _given(
    plugin: Plugin, given: list[tuple[str, str, str]], on: list[str]
) -> tuple[tuple[str, str], ...]:
    """The settings of a plug-in; of a strategy also the model that it is tried with."""
    own = [(name, value) for group, name, value in given if group == plugin.group]
    if plugin.group == "strategy":
        own += [("model", word.removeprefix(MODEL)) for word in on]
        own += [(f"model.{name}", value) for group, name, value in given if group == "model"]
    return tuple(own)


def _group(word: str) -> str:
    group, equals, _ = word.partition("=")
    return group if equals else "strategy"


def _find(word: str) -> Plugin:
    group, name = _group(word), word.partition("=")[2] or word
    if group not in FOLDERS:
        raise UsageError(f"cannot check {word!r}: write a file, or group=name")
    return find(group, name)
