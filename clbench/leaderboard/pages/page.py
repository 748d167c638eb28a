"""The shell of every page: style, script and policy; no outside address.

The script and the style are files beside this module. The page's policy allows them by their hashes
and nothing else, so that a text that slipped through the escaping would still not run.
"""

from __future__ import annotations

import html
from functools import cache
from importlib.resources import files

from clbench.util import page
from clbench.util.text import as_html


def document(title: str, body: str, data: str, *, script: bool) -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML of what is between the skip link and the end.
        data: HTML of the block that the script reads.
        script: whether ``page.js`` is part of it.
    """
    css, js = style(), _asset("page.js")
    skip = ("ranking" if script else "boards", "Skip to the ranking")
    return page.document(
        title, f'<main id="boards">\n{body}\n</main>', css, js if script else "", data, skip
    )


def breakable(name: str, longest: int = 60) -> str:
    """A name as HTML, which a narrow column may break after an underscore."""
    return as_html(name, longest).replace("_", "_<wbr>")


def group(name: str, rest: str, n_columns: int, rows: str) -> str:
    """A table's rows under a heading of their own."""
    title = f"<span><b>{as_html(name)}</b>{html.escape(rest)}</span>"
    head = f'<tr><th scope="rowgroup" colspan="{n_columns}">{title}</th></tr>'
    return f"<tbody>{head}\n{rows}</tbody>"


def as_html_block(text: str) -> str:
    """Escaped, with its lines."""
    return "\n".join(as_html(line) for line in text.splitlines())


def style() -> str:
    """The style of every page."""
    return _asset("page.css")


@cache
def _asset(name: str) -> str:
    return (
        (files("clbench.leaderboard.pages") / "assets" / name).read_text(encoding="utf-8").strip()
    )
