"""Rule S4: what a source holds as literals, which may be trained weights or answers of a test set.

A source of a few kilobytes can carry a read-out that was fitted on all data. No rule can tell it from
honest constants, so every large literal is named, for a person to look at; what catches it is the run
on fresh data (``clbench verify``).
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

from clbench.configure.board import Board
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.rules.findings import Check, Finding, warning
from clbench.leaderboard.rules.sources import UNPARSABLE, is_source
from clbench.leaderboard.rules.structure import SOURCES, source_place

LARGE = 2048
"""Bytes of source from which a literal is named."""
MOST = 20
"""Literals named of a source."""
DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict)


def large_literals_are_named(board: Board, entry: Entry) -> Iterator[Finding]:
    """S4: every literal of more than 2 kB of source is named."""
    for group in SOURCES:
        path = entry.source_of(group)
        if not is_source(path):
            continue
        for line, size in large_literals(path)[:MOST]:
            wrong = f"the {group} has a literal of {size} bytes at line {line}: say what it is"
            yield warning("S4", source_place(entry, group), wrong)


def large_literals(path: Path) -> list[tuple[int, int]]:
    """Line and bytes of each large literal of a source, docstrings included; [] if it is no Python."""
    try:
        text = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about literals in untrusted code
            tree = ast.parse(text)
        return sorted(_literals(tree, text.encode().splitlines(keepends=True)))
    except UNPARSABLE:
        return []


def _literals(node: ast.AST, lines: list[bytes]) -> Iterator[tuple[int, int]]:
    """The outermost literals below a node that are large; those inside of one are part of it."""
    todo = [node]
    while todo:
        for child in ast.iter_child_nodes(todo.pop()):
            if isinstance(child, (ast.Constant, ast.JoinedStr, *DISPLAYS)):
                size = _size(child, lines)
                if size > LARGE:
                    yield child.lineno, size
                    continue
            todo.append(child)


def _size(node: ast.expr, lines: list[bytes]) -> int:
    """Bytes of source between a node's start and its end."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    if first == last:
        return (node.end_col_offset or 0) - node.col_offset
    between = sum(map(len, lines[first + 1 : last]))
    return len(lines[first]) - node.col_offset + between + (node.end_col_offset or 0)


RULES: tuple[Check, ...] = (large_literals_are_named,)
