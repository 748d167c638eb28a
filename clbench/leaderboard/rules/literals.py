"""Rule S4: what a source carries beside its code, such as trained weights or the answers of a test set.

A source of a few kilobytes can carry a read-out that was fitted on all data. No rule can tell it from
honest constants, so every large literal is named, for a person to look at; what catches it is the run
on fresh data (``clbench verify``). Weights may also lie in many small literals, in comments or in
names. A text carries no more than its compressed size, so sums of such parts are named by that size.
"""

from __future__ import annotations

import ast
import io
import token
import tokenize
import warnings
import zlib
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
MOST_CARRIED = {
    "numbers and long words": 768,
    "literals and comments": 3072,
    "names": 1536,
    "text": 6144,
}
"""Compressed bytes of a source's parts beyond which they are named. No strategy or model that comes
with clbench has more than 251, 2,222, 820 and 4,333."""
LONG_WORD = 16
"""Characters without a space, from which a word of a literal or comment is taken for data."""
LAYOUT = frozenset(
    {token.NAME, token.OP, token.NEWLINE, token.NL, token.INDENT, token.DEDENT, token.ENDMARKER}
)
"""Tokens that are no free text."""
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


def small_parts_are_summed(board: Board, entry: Entry) -> Iterator[Finding]:
    """S4: literals, comments and names that together can carry weights are named."""
    for group in SOURCES:
        path = entry.source_of(group)
        if not is_source(path):
            continue
        for part, size in carried(path.read_bytes()).items():
            if size > MOST_CARRIED[part]:
                wrong = (
                    f"the {group}'s {part}, compressed, take {size} bytes of {MOST_CARRIED[part]}"
                )
                wrong += " that sources rarely exceed: say what is in there"
                yield warning("S4", source_place(entry, group), wrong)


def carried(source: bytes) -> dict[str, int]:
    """Compressed bytes of the parts of a source, as in ``MOST_CARRIED``.

    What cannot be taken apart counts as a literal.
    """
    text = source.decode(errors="replace")
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(text).readline)]
    except (tokenize.TokenError, SyntaxError):
        tokens, free = [], [text]
    else:
        free = [t.string for t in tokens if t.type not in LAYOUT]
    names = dict.fromkeys(t.string for t in tokens if t.type == token.NAME)
    numbers = [t.string for t in tokens if t.type == token.NUMBER]
    long_words = [word for part in free for word in part.split() if len(word) >= LONG_WORD]
    parts = ([*long_words, *numbers], free, names, [text])
    sizes = (len(zlib.compress("\n".join(part).encode(), 9)) for part in parts)
    return dict(zip(MOST_CARRIED, sizes, strict=True))


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


RULES: tuple[Check, ...] = (large_literals_are_named, small_parts_are_summed)
