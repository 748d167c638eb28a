"""The shell of every page: style, script and policy; no outside address.

The page's policy allows its own script and style by their hashes and nothing else, so that a text that
slipped through the escaping would still not run.
"""

from __future__ import annotations

import base64
import hashlib

from clbench.util.text import as_html


def document(title: str, body: str, css: str, js: str, data: str, skip: tuple[str, str]) -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML of what is between the skip link and the end.
        css: the style.
        js: the script; empty: none.
        data: HTML of the block that the script reads.
        skip: the anchor and the text of the link that skips to what matters.
    """
    allowed = f"script-src {_hash(js)}; " if js else ""
    policy = (
        f"default-src 'none'; style-src {_hash(css)}; {allowed}img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    code = f"{data}\n<script>{js}</script>\n" if js else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>{as_html(title)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{css}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#{skip[0]}">{as_html(skip[1])}</a>\n'
        f"{body}\n{code}</body>\n</html>\n"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
