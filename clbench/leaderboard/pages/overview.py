"""Strategies across boards: normalised scores, their mean with its interval, and a heat map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clbench.configure.board import Board
from clbench.leaderboard.pages.page import breakable
from clbench.leaderboard.pages.summary import EntryRow
from clbench.util.text import as_html, as_markdown, clean

FEWEST_BOARDS = 6
"""Below this, no mean over boards."""
COMPARED = ("network", "any", "closed")
"""The divisions that are compared, each in lines of its own; *open* may start from other data."""
LEVELS = 10
"""Shades of the heat map."""
Boards = Sequence[tuple[Board, Sequence[EntryRow]]]


class Cell(NamedTuple):
    """A strategy's best entry on a board."""

    score: float
    """0 at the board's floor, 1 at the ceiling of its network."""
    error: float
    """Standard error over seeds."""
    slug: str


class Line(NamedTuple):
    """A strategy in a division, across boards."""

    strategy: str
    division: str
    cells: Mapping[str, Cell]
    """By the board's name."""
    mean: float | None
    """Over all boards; None where one is missing."""
    half_width: float | None
    """Of its 95 % interval over seeds; the boards are taken as given."""


def lines(boards: Boards) -> list[Line]:
    """All strategies that are compared: those on every board by mean, then the others."""
    cells: dict[tuple[str, str], dict[str, Cell]] = {}
    degrees: dict[str, int] = {}
    used = [(board, rows) for board, rows in boards if any(_counts(row) for row in rows)]
    for board, rows in used:
        degrees[board.name] = len(board.seeds) - 1
        for row in rows:
            if _counts(row):
                mine = cells.setdefault((row.strategy, row.division), {})
                cell = _cell(board, row)
                if board.name not in mine or mine[board.name].score < cell.score:
                    mine[board.name] = cell
    found = [
        Line(*name, mine, *_mean(mine, degrees, len(used) >= FEWEST_BOARDS))
        for name, mine in cells.items()
    ]
    return sorted(found, key=_order)


def _order(line: Line) -> tuple[int, float, str, str]:
    scores = [cell.score for cell in line.cells.values()]
    value = line.mean if line.mean is not None else sum(scores) / len(scores)
    return -len(line.cells), -value, line.strategy, line.division


def _counts(row: EntryRow) -> bool:
    return (
        row.ranked and row.is_evidence and row.division in COMPARED and row.primary.mean is not None
    )


def _cell(board: Board, row: EntryRow) -> Cell:
    width = (board.ceiling.mean - board.floor.mean) or 1.0
    scores = [s.score for s in row.seeds]
    mean = math.fsum(scores) / len(scores)
    variance = math.fsum((s - mean) ** 2 for s in scores) / max(1, len(scores) - 1)
    error = math.sqrt(variance / len(scores)) / width
    return Cell((mean - board.floor.mean) / width, error, row.slug)


def _mean(
    cells: Mapping[str, Cell], degrees: Mapping[str, int], enough: bool
) -> tuple[float | None, float | None]:
    """The mean over all boards and the half width of its interval.

    The boards' errors are independent, so their squares add up; the degrees of freedom are those of
    Welch and Satterthwaite.
    """
    if not enough or set(cells) != set(degrees):
        return None, None
    from scipy.stats import t

    n = len(cells)
    mean = math.fsum(cell.score for cell in cells.values()) / n
    squares = {name: cell.error**2 for name, cell in cells.items()}
    total = math.fsum(squares.values())
    if total == 0:
        return mean, 0.0
    freedom = total**2 / math.fsum(s**2 / max(1, degrees[name]) for name, s in squares.items())
    return mean, float(t.ppf(0.975, freedom) * math.sqrt(total) / n)


def note(n_boards: int) -> str:
    """One sentence on what the numbers are."""
    text = (
        "100: the ceiling of the board's network, in every line; 0: its floor. Each cell is the best "
        "entry of a strategy. Lines of the division any are marked; a solver of it may pass 100."
    )
    if n_boards < FEWEST_BOARDS:
        return f"{text} With fewer than {FEWEST_BOARDS} boards there is no mean over them."
    return f"{text} The mean is over all boards, with its 95 % interval over seeds."


def to_html(boards: Boards) -> str:
    """The heat map strategy × board; nothing where there is no entry."""
    found = lines(boards)
    used = _used(boards, found)
    if not found:
        return ""
    head = "".join(
        f'<th scope="col"><a href="{as_html(board.name)}/index.html">{as_html(board.name)}</a></th>'
        for board in used
    )
    body = "".join(_row(line, used) for line in found)
    return (
        f'<h2 id="overview">Strategies across boards</h2><p class="quiet">{note(len(used))}</p>'
        '<div class="scroll" role="region" aria-label="Strategies across boards" tabindex="0">'
        "<table><caption>Normalised scores of strategies by board</caption>"
        '<thead><tr><th scope="col" class="entry">strategy</th><th scope="col">mean</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _used(boards: Boards, found: Sequence[Line]) -> list[Board]:
    there = {name for line in found for name in line.cells}
    return [board for board, _ in boards if board.name in there]


def _row(line: Line, used: Sequence[Board]) -> str:
    cells = []
    for board in used:
        cell = line.cells.get(board.name)
        if cell is None:
            cells.append('<td class="quiet middle">–</td>')
            continue
        level = max(0, min(LEVELS, round(LEVELS * cell.score)))
        address = f"{board.name}/index.html#entry-{cell.slug}"
        shown = f"{100 * cell.score:.0f}"
        cells.append(
            f'<td class="heat h{level} middle"><a href="{as_html(address)}">{shown}</a></td>'
        )
    name = f'<th scope="row" class="entry">{breakable(_title(line))}</th>'
    return f'<tr>{name}<td class="score">{_said(line)}</td>{"".join(cells)}</tr>\n'


def _title(line: Line) -> str:
    """``ridge (any)``: the strategy, with its division where that is *any*."""
    name = clean(line.strategy, 60)
    return f"{name} (any)" if line.division == "any" else name


def _said(line: Line) -> str:
    if line.mean is None or line.half_width is None:
        return f"{len(line.cells)} boards" if len(line.cells) != 1 else "1 board"
    return f"{100 * line.mean:.1f} ± {100 * line.half_width:.1f}"


def to_markdown(boards: Boards) -> str:
    """The same as a table of Markdown."""
    found = lines(boards)
    used = _used(boards, found)
    if not found:
        return ""
    rows = [
        ["strategy", "mean", *(f"[{b.name}]({b.name}/README.md)" for b in used)],
        [":---", *["---:"] * (len(used) + 1)],
    ]
    for line in found:
        cells = (line.cells.get(board.name) for board in used)
        shown = ["–" if cell is None else f"{100 * cell.score:.0f}" for cell in cells]
        rows.append([as_markdown(_title(line), 70), _said(line), *shown])
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"## Strategies across boards\n\n{note(len(used))}\n\n{table}"
