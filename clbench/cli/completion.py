"""``clbench completion``: argcomplete's script for a shell, and the words that the script asks for."""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clbench.errors import ClbenchError
from clbench.plugins import source
from clbench.plugins.registry import FOLDERS, FOLDERS_WORD, default_of, find, plugins

SHELLS = ("bash", "fish", "zsh")
EXAMPLES = """examples:
  source <(clbench completion bash)     (or append the output to ~/.bashrc)
  source <(clbench completion zsh)      (after compinit)
  clbench completion fish | source"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "completion",
        help="print a completion script for your shell",
        description="Print a script that completes commands, options, key=value words and files.",
        epilog=EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print the script."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["clbench"], shell=arguments.shell), end="")
    return 0


def answer(parser: argparse.ArgumentParser) -> None:
    """If a shell asks for completions, print them and leave the program; else do nothing."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    from argcomplete.finders import CompletionFinder

    class Finder(CompletionFinder):
        """Completes ``key=value`` words after an option too, as ``clbench.cli.parse`` takes them."""

        def collect_completions(
            self,
            active_parsers: list[argparse.ArgumentParser],
            parsed_args: argparse.Namespace,
            cword_prefix: str,
        ) -> list[str]:
            last: Any = active_parsers[-1]
            if not last.active_actions and not cword_prefix.startswith("-"):
                last.active_actions = [a for a in last._actions if a.dest == "overrides"]
            return super().collect_completions(active_parsers, parsed_args, cword_prefix)

    _attach(parser)
    Finder()(parser, always_complete_options=False)


def _attach(parser: argparse.ArgumentParser) -> None:
    """Give the arguments of a parser and of its subcommands their completers."""
    from argcomplete.completers import ChoicesCompleter, FilesCompleter

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _attach(below)
            continue
        completer: Any = None
        if isinstance(action.metavar, str) and action.metavar in COMPLETERS:
            completer = _quiet(COMPLETERS[action.metavar])
        elif action.type is Path:
            completer = FilesCompleter()
        elif action.choices is None:
            completer = ChoicesCompleter({})
        if completer is not None:
            action.completer = completer  # type: ignore[attr-defined]


def settings(prefix: str, words: list[str]) -> dict[str, str]:
    """What a ``key=value`` word may become, each with a line of help.

    Args:
        prefix: the word so far.
        words: the other words of the command line; they choose the plug-ins.
    """
    key, equals, _ = prefix.partition("=")
    if equals and key in FOLDERS:
        return names(prefix, words)
    known = {f"{group}=": f"one of: clbench list {FOLDERS_WORD[group]}" for group in FOLDERS}
    for setting, name in _settings(words):
        if not equals:
            known[f"{name}="] = setting.help
        elif name == key:
            return {f"{name}={value}": "" for value in _values(setting.type)}
    return {} if equals else known


def names(prefix: str, words: list[str]) -> dict[str, str]:
    """What a ``group=name`` word may become; after a comma, one more name of the group."""
    group, equals, value = prefix.partition("=")
    if not equals:
        return {f"{group}=": f"one of: clbench list {FOLDERS_WORD[group]}" for group in FOLDERS}
    before = value[: value.rfind(",") + 1]
    found = plugins(group) if group in FOLDERS else {}
    return {f"{group}={before}{name}": found[name].summary() for name in found}


def kinds(prefix: str, words: list[str]) -> dict[str, str]:
    """What ``clbench list`` lists."""
    return dict.fromkeys((*FOLDERS_WORD.values(), "metrics"), "")


COMPLETERS = {"key=value": settings, "group=name": names, "KIND": kinds}
"""By the metavar of an argument."""


def _settings(words: list[str]) -> Iterator[tuple[source.Setting, str]]:
    """The settings of every run and of the plug-ins that the words choose, with their full names."""
    common = source.module_path("clbench.configure.common")
    for setting in source.class_settings(common, "Common") if common else ():
        yield setting, setting.name
    chosen = {"data": default_of("data"), **dict(w.split("=", 1) for w in words if "=" in w)}
    for group in FOLDERS:
        for name in filter(None, chosen.get(group, "").split(",")):
            for setting in source.settings(find(group, name).path):
                yield setting, f"{group}.{setting.name}"


def _values(kind: str) -> list[str]:
    """The values of a setting of type ``Literal[…]`` or ``bool``, as one types them."""
    found: list[str] = []
    for node in ast.walk(ast.parse(kind, mode="eval")):
        if isinstance(node, ast.Name) and node.id == "bool":
            found += ["true", "false"]
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            value = ast.literal_eval(node.slice)
            found += map(str, value if isinstance(value, tuple) else (value,))
        if isinstance(node, ast.Constant) and node.value is None:
            found.append("null")
    return found


def _quiet(completer: Callable[[str, list[str]], dict[str, str]]) -> Callable[..., dict[str, str]]:
    """An argcomplete completer that offers nothing where the words are wrong."""
    from argcomplete.lexers import split_line

    words = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]

    def complete(prefix: str, **_: object) -> dict[str, str]:
        try:
            return completer(prefix, words)
        except ClbenchError:  # such as an unknown strategy; a shell shows no error messages
            return {}

    return complete
