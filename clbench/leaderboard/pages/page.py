"""The shell of every page: style, script and policy; no outside address.

The script and the style are files beside this module. The page's policy allows them by their hashes
and nothing else, so that a text that slipped through the escaping would still not run.
"""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib.resources import files

from clbench.util.text import as_html


def document(title: str, body: str, data: str, *, script: bool) -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML of what is between the skip link and the end.
        data: HTML of the block that the script reads.
        script: whether ``page.js`` is part of it.
    """
    css, js = _asset("page.css"), _asset("page.js")
    allowed = f"script-src {_hash(js)}; " if script else ""
    policy = (
        f"default-src 'none'; style-src {_hash(css)}; {allowed}img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    code = f"{data}\n<script>{js}</script>\n" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>{as_html(title)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{css}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#{"ranking" if script else "boards"}">Skip to the ranking</a>\n'
        f'<main id="boards">\n{body}\n</main>\n{code}</body>\n</html>\n'
    )


def group(name: str, rest: str, n_columns: int, rows: str) -> str:
    """A table's rows under a heading of their own."""
    title = f"<span><b>{as_html(name)}</b>{html.escape(rest)}</span>"
    head = f'<tr><th scope="rowgroup" colspan="{n_columns}">{title}</th></tr>'
    return f"<tbody>{head}\n{rows}</tbody>"


def as_html_block(text: str) -> str:
    """Escaped, with its lines."""
    return "\n".join(as_html(line) for line in text.splitlines())


@cache
def _asset(name: str) -> str:
    return (
        (files("clbench.leaderboard.pages") / "assets" / name).read_text(encoding="utf-8").strip()
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
