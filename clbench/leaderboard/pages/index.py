"""The page over all boards."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from clbench.configure.board import Board
from clbench.leaderboard.pages import answer, columns, overview
from clbench.leaderboard.pages.page import breakable, document, group
from clbench.leaderboard.pages.panels import tier_tag
from clbench.leaderboard.pages.summary import EntryRow
from clbench.util.text import as_html

Boards = Sequence[tuple[Board, Sequence[EntryRow]]]


def index_html(
    boards: Boards, others: Sequence[tuple[str, Boards]] = (), gone: Sequence[str] = ()
) -> str:
    """The first three of each division of each board; those of other repositories; what is gone."""
    parts = ["<h1>Leaderboards</h1>"]
    parts.append(overview.to_html(boards))
    for board, rows in boards:
        address = f"{quote(board.name)}/index.html"
        ranked = [row for row in rows if row.ranked]
        parts.append(
            f'<section class="card"><h2><a href="{as_html(address)}">{as_html(board.title)}</a>'
            f"</h2><p>{as_html(board.description, 600)}</p>"
            f"<p>{as_html(answer.power_sentence(board, rows))}</p>"
            f"{_top_three(board, ranked, address)}</section>"
        )
    parts += [_theirs(name, board, rows) for name, found in others for board, rows in found]
    if gone:
        items = "".join(f"<li>{as_html(item, 400)}</li>" for item in gone)
        parts.append(f'<h2 id="withdrawn">Withdrawn boards</h2><ul>{items}</ul>')
    return document("Leaderboards", "\n".join(parts), "", script=False)


def _theirs(name: str, board: Board, rows: Sequence[EntryRow]) -> str:
    """A board of another repository: its ledger is that repository's word."""
    column = columns.primary(board)
    items = "".join(
        f"<li>{as_html(row.name, 60)} ({as_html(row.division, 20)}): "
        f"{columns.with_interval(row.primary, column)}, {as_html(row.tier_text, 60)}</li>"
        for row in [row for row in rows if row.ranked][:3]
    )
    return (
        f'<section class="card"><h2>{as_html(board.title)}</h2><p class="quiet">Of the repository '
        f"{as_html(name, 60)}. What it says was verified is its word.</p><ul>{items}</ul></section>"
    )


def _top_three(board: Board, ranked: Sequence[EntryRow], address: str) -> str:
    if not ranked:
        return "<p>No entries yet.</p>"
    primary = columns.primary(board)
    groups = []
    for division in board.divisions:
        members = [row for row in ranked if row.division == division][:3]
        body = "".join(
            f'<tr><td class="rank">{columns.places(row)}</td><th scope="row" class="entry">'
            f'<a href="{as_html(f"{address}#entry-{row.slug}")}">{breakable(row.name)}</a></th>'
            f'<td class="score">{columns.with_interval(row.primary, primary)}</td>'
            f'<td class="left">{tier_tag(row)}</td></tr>'
            for row in members
        )
        if body:
            groups.append(group(division.capitalize(), " division", 4, body))
    title = as_html(board.title)
    return (
        f'<div class="scroll" role="region" aria-label="{title}" tabindex="0"><table>'
        f"<caption>The first three of each division of {title}</caption>"
        '<thead><tr><th scope="col">rank</th><th scope="col" class="entry">entry</th>'
        f'<th scope="col">{as_html(primary.title)}</th>'
        f'<th scope="col" class="left">tier</th></tr></thead>{"".join(groups)}</table></div>'
    )
