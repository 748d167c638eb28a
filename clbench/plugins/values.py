"""Values of default expressions, read from syntax trees: literals and the constants they name."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

Find = Callable[[str], Path | None]
"""Finds the file of a module by its full name; None: the module is not one of clbench's."""


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file, parsed once per content."""
    return _parsed(path.read_bytes())


@cache
def _parsed(source: bytes) -> ast.Module:
    return ast.parse(source)


def written(node: ast.expr, path: Path, find: Find) -> str:
    """A default as a literal where its value can be read, else its source text.

    Args:
        node: the default of a field, such as ``parameters.OUTPUT`` or ``field(default=1)``.
        path: the file that it stands in.
        find: finds the files of the modules that it names.
    """
    found = _literal(node, path, find)
    return ast.unparse(node if found is None else found)


def _literal(node: ast.expr, path: Path, find: Find) -> ast.expr | None:
    """The literal that an expression stands for; None: it is none, nor does it name one."""
    if isinstance(node, ast.Call):
        defaults = [word.value for word in node.keywords if word.arg == "default"]
        return _literal(defaults[0], path, find) if defaults else None
    if isinstance(node, ast.Name):
        return _constant(node.id, path, find)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        module = _imported(node.value.id, path, find)
        return _constant(node.attr, module, find) if module else None
    try:
        ast.literal_eval(node)
    except ValueError:
        return None
    return node


def _constant(name: str, path: Path, find: Find) -> ast.expr | None:
    """The literal that a file gives a name at its top level, or imports it from."""
    tree = parse(path)
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if node.value and any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return _literal(node.value, path, find)
    for module, original in _imports(name, tree):
        file = find(module)
        if file is not None and file != path:
            return _constant(original, file, find)
    return None


def _imported(name: str, path: Path, find: Find) -> Path | None:
    """The file of the module that a file imports under a name."""
    for module, original in _imports(name, parse(path)):
        return find(f"{module}.{original}")
    return None


def _imports(name: str, tree: ast.Module) -> list[tuple[str, str]]:
    """Pairs (module, name in it) of the ``from … import`` statements that bind a name."""
    return [
        (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
        if (alias.asname or alias.name) == name
    ]
