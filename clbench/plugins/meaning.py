"""What a plug-in's code means: its text less what changes no result of a run."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache

from clbench.plugins.spaces import without_spaces

PLUGINS = (
    "clbench.strategies.",
    "clbench.scenarios.",
    "clbench.models.",
    "clbench.data.sets.",
    "clbench.encoders.",
)
BODIES = ("body", "handlers", "orelse", "finalbody", "cases")
"""What holds a statement's own statements."""


@cache
def meaning(source: bytes) -> tuple[str, tuple[str, ...]]:
    """Hash of a plug-in's code less what changes no result, and the modules that it imports."""
    tree = ast.parse(source)
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            joint = "" if module.endswith(".") else "."
            names += [module, *(f"{module}{joint}{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Raise) and node.exc is not None:
            for part in ast.walk(node.exc):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    part.value = ""
    without_spaces(tree)
    bound = sorted(set(_take_engine_imports(tree)))
    _drop_what_only_tells(tree)
    drop_docstrings(tree)
    text = f"{bound}\n{ast.unparse(tree)}"
    return hashlib.sha256(text.encode()).hexdigest(), tuple(names)


def _take_engine_imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Take imports from the engine out of every body; yields each name and what it is bound to."""
    for node in ast.walk(tree):
        for part in ("body", "orelse", "finalbody"):
            statements = getattr(node, part, None)
            if isinstance(statements, list):
                rest = []
                for statement in statements:
                    names = _names_of_the_engine(statement)
                    yield from names
                    rest += [] if names else [statement]
                setattr(node, part, rest)


def _names_of_the_engine(node: ast.AST) -> list[tuple[str, str]]:
    """The names that an import from the engine binds; none of any other statement."""
    if isinstance(node, ast.ImportFrom) and not node.level and _is_engine(node.module or ""):
        return [(alias.name, alias.asname or alias.name) for alias in node.names]
    if isinstance(node, ast.Import) and len(node.names) == 1:
        [alias] = node.names
        if alias.asname and _is_engine(alias.name):
            return [(alias.name.rpartition(".")[2], alias.asname)]
    return []


def _is_engine(module: str) -> bool:
    return f"{module}.".startswith("clbench.") and not f"{module}.".startswith(PLUGINS)


TELLS = ("resolved", "without_effect", "misleading")
"""Methods that only say, for the record, what settings came to, or which ones are refused."""


def _drop_what_only_tells(tree: ast.AST) -> None:
    """Take methods that change no result out of every class, unless the code uses one itself."""
    used: set[object] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) != "super()":
            used.add(node.attr)
        elif isinstance(node, ast.Constant):
            used.add(node.value)
    only_tell = {*TELLS} - used
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            kept = [s for s in node.body if not _is_plain_method(s, only_tell)]
            node.body = kept or [ast.Pass()]


def _is_plain_method(node: ast.stmt, names: set[str]) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name in names and not node.decorator_list


def drop_docstrings(tree: ast.AST) -> None:
    """Take constants that stand alone, docstrings that is, out of every body."""
    for node in statements(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                s
                for s in body
                if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            ]


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """A tree and all statements, handlers and cases in it, at a third of the cost of ``ast.walk``."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        for name in BODIES:
            todo += getattr(node, name, ())  # of an expression with a body, none is reached
