"""``clbench show``: describes a plug-in and each of its settings."""

from __future__ import annotations

import argparse
import ast
import json
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

from clbench.errors import UsageError
from clbench.plugins import source
from clbench.plugins.registry import FOLDERS, did_you_mean, find, plugins
from clbench.util.console import one_line, printable

EXAMPLES = """examples:
  clbench show strategy=ewc
  clbench show scenario=scole
  clbench show                  (the settings that belong to no group)"""


RECOMMENDS = ("data", "encoder")
"""Groups whose plug-ins name the model of runs that name none."""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "show",
        help="describe a plug-in and its settings",
        description="Show what a scenario, strategy, data set, encoder or model does, and its "
        "settings with their defaults.",
        epilog=EXAMPLES,
    )
    parser.add_argument("what", nargs="*", metavar="group=name", help="such as strategy=ewc")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print documentation and settings, read from the source without importing it."""
    shown = {}
    models: dict[str, str] = {}
    for word in arguments.what:
        group, equals, name = word.partition("=")
        if not equals or group not in FOLDERS:
            named = [f"{g}={word}" for g in FOLDERS if not equals and word in plugins(g)]
            hint = did_you_mean(group, FOLDERS)
            if Path(word).is_dir():
                hint = "; a table of runs: clbench results FOLDER; one page: clbench report FOLDER"
            elif named:
                hint = f"; did you mean {' or '.join(named)}?"
            raise UsageError(f"expected group=name, got {word!r}{hint} (such as strategy=ewc)")
        plugin = find(group, name)
        if plugin.bridge is not None:
            doc, settings = import_module(plugin.bridge).describe(plugin.argument)
            shown[word] = (doc, f"{group}.", settings)
            continue
        try:
            tree = ast.parse(plugin.path.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise UsageError(f"{plugin.path.name}: is not Python: {error}") from error
        doc = (ast.get_docstring(tree) or "").strip()
        shown[word] = (doc, f"{group}.", source.settings(plugin.path))
        if group in RECOMMENDS:
            models[word] = source.returned(plugin.path, "default_model") or ""
    if not arguments.what:
        file = source.module_path("clbench.configure.common")
        common = source.class_settings(file, "Common") if file else []
        shown["settings of every run"] = ("", "", common)
    if arguments.json:
        data = {
            word: {
                "doc": doc,
                "settings": [setting._asdict() for setting in settings],
                **({"default_model": models[word] or None} if word in models else {}),
            }
            for word, (doc, _, settings) in shown.items()
        }
        print(json.dumps(data, indent=2))
        return 0
    for word, (doc, prefix, settings) in shown.items():
        text = "\n".join(map(printable, doc.expandtabs().splitlines()))
        print(printable(word), *([text] if text else []), sep="\n\n", end="\n\n")
        for setting in settings:
            kind = ", ".join(word for word in (setting.type, setting.bound) if word)
            if (
                setting.default.endswith("()") and setting.default != "()"
            ):  # settings of its own, by names that the help has
                print(printable(f"  {prefix}{setting.name}.NAME=VALUE   (none is set)"))
            else:
                print(printable(f"  {prefix}{setting.name}={typed(setting.default)}   ({kind})"))
            print(textwrap.indent(textwrap.fill(one_line(setting.help), 88), "      "))
        if word in models:
            default = printable(models[word]) or "what suits the shape of its samples"
            print(f"\n  A run with {printable(word)} that names no model= gets: {default}")
        print()
    return 0


def _kind(kind: str) -> str:
    """A type as one reads it: ``float, Positive`` for ``Annotated[float, Positive]``."""
    return kind.removeprefix("Annotated[").removesuffix("]") if kind.startswith("Anno") else kind


def typed(default: str) -> str:
    """A default as one types it: ``null``, bare words, lists in brackets."""
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return default
    if isinstance(value, tuple):
        return json.dumps(list(value)).replace(" ", "")
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return str(value)
