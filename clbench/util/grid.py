"""Tables for people: never wrapped, and without the columns that a terminal has no room for.

In a file or a pipe a table is as wide as it needs. On a terminal, columns are left out from the right
until the rest fits, and a line names them.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from clbench.util.console import has_codes, one_line

if TYPE_CHECKING:
    from rich.console import Console

MAX_WIDTH = 100_000
LEAST = 10
"""Characters of a column of names, to which it is cut before any number is."""


class Head(NamedTuple):
    """The head of a column."""

    title: str
    right: bool = True
    """Whether its cells are aligned to the right."""
    stays: bool = False
    """Whether it stays however narrow the terminal is; then its cells are cut."""
    asked: bool = False
    """Whether somebody asked for it by name: names are cut before it is left out."""


def print_table(
    heads: Sequence[Head],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    caption: str = "",
    more: str = "",
    boxed: bool = True,
    stream: Any = None,
) -> None:
    """Print a table; what strangers wrote into its cells is escaped.

    Args:
        heads: the columns; they are left out from the right, as far as they do not stay.
        rows: of cells.
        title: above the table.
        caption: below it.
        more: where all columns are, for the line that names those left out.
        boxed: with lines around it.
        stream: where to; None: stdout.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    stream = sys.stdout if stream is None else stream
    console = console_of(stream)
    cells = [[one_line(text) for text in row] for row in rows]
    room = console.width if is_terminal(stream) else MAX_WIDTH
    shown = fitting(heads, cells, room, boxed)
    table = Table(
        title=escape(one_line(title)) if title else None,
        caption=escape(caption) if caption else None,
        title_justify="left",
        caption_justify="left",
        box=box.HEAVY_HEAD if boxed else None,
    )
    for at, width in zip(shown, _widths(heads, cells, shown, room, boxed), strict=True):
        justify: Any = "right" if heads[at].right else "left"
        table.add_column(
            escape(heads[at].title), justify=justify, width=width, no_wrap=True, overflow="ellipsis"
        )
    for row in cells:
        table.add_row(*(escape(row[at]) for at in shown))
    write(console, stream, table)
    left = [head.title for at, head in enumerate(heads) if at not in shown]
    if left:
        where = f"; {more}" if more else ""
        text = f"left out, from the right, for want of room: {', '.join(left)}{where}"
        lines = textwrap.wrap(text, max(room, 40), break_long_words=False, break_on_hyphens=False)
        print("\n".join(lines), file=stream)


def console_of(stream: Any) -> Console:
    """A console that writes escape codes to terminals only, and none where NO_COLOR is set."""
    from rich.console import Console

    codes = has_codes(stream)
    return Console(
        file=stream,
        force_terminal=codes,
        color_system="auto" if codes else None,
        no_color=not codes,
        width=None if is_terminal(stream) else MAX_WIDTH,
        highlight=False,
    )


def write(console: Console, stream: Any, what: Any) -> None:
    """Write what rich renders; unlike rich, leave a closed pipe to the caller."""
    with console.capture() as captured:
        console.print(what)
    stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def is_terminal(stream: Any) -> bool:
    """Whether a stream has a width."""
    return bool(getattr(stream, "isatty", bool)())


def fitting(
    heads: Sequence[Head], rows: Sequence[Sequence[str]], room: int, boxed: bool = True
) -> list[int]:
    """The columns, by number, that fit into so many characters, and those that stay."""
    widths = _natural(heads, rows)
    if any(head.asked for head in heads):
        pairs = zip(widths, heads, strict=True)
        widths = [w if head.right else min(w, LEAST) for w, head in pairs]
    shown = list(range(len(heads)))
    for at in reversed(range(len(heads))):
        if sum(widths[k] for k in shown) + _lines(len(shown), boxed) <= room:
            break
        if not heads[at].stays:
            shown.remove(at)
    return shown


def _natural(heads: Sequence[Head], rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column's widest text."""
    from rich.cells import cell_len

    texts = [[head.title, *(row[at] for row in rows)] for at, head in enumerate(heads)]
    return [max(map(cell_len, column)) for column in texts]


def _lines(n: int, boxed: bool) -> int:
    """The characters around the texts of so many columns."""
    return 3 * n + 1 if boxed else 2 * n


def _widths(
    heads: Sequence[Head],
    rows: Sequence[Sequence[str]],
    shown: Sequence[int],
    room: int,
    boxed: bool,
) -> list[int]:
    """The widths of the columns that are shown; where they do not fit, the widest names are cut."""
    natural = _natural(heads, rows)
    widths = [natural[at] for at in shown]
    excess = sum(widths) + _lines(len(shown), boxed) - room
    names = [k for k, at in enumerate(shown) if not heads[at].right]
    for cut, least in ((names, LEAST), (range(len(shown)), 1)):
        while excess > 0 and max((widths[k] for k in cut), default=0) > least:
            widest = max(cut, key=lambda k: widths[k])
            second = max((widths[k] for k in cut if widths[k] < widths[widest]), default=least)
            less = min(excess, max(1, widths[widest] - max(second, least)))
            widths[widest] -= less
            excess -= less
    return widths
