"""Escapes untrusted texts for Markdown, HTML, CSV cells and links, and words numbers of things."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from typing import Any
from urllib.parse import quote, urlsplit

from clbench.util.console import one_line, printable

LONGEST = 200
"""Default number of characters of a text that are shown."""
FORMULA = tuple("=+-@;\t\r＝＋－＠")
"""What a spreadsheet reads a formula after, at the start of a cell; some part cells at ``;``."""
_LATER_FORMULA = re.compile(r"([;|]\s*)(?=[=+\-@＝＋－＠])")
"""Before what would start a formula where a reader takes another character to part cells."""
_AT_START = re.compile(r"^(\d*)([-+=](?!\d)|(?<=\d)[.)](?=\s|$))")
"""What makes a list or a heading of a line that starts with it."""
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#@!$])")
_AUTOLINK = re.compile(r"(?i)(?<=www)\.|(?<=http):|(?<=https):|(?<=ftp):|(?<=mailto):")


def clean(value: Any, longest: int = LONGEST) -> str:
    """Make one line without control characters, lone surrogates and reordering marks.

    Long texts are cut. A reordering mark could let a name change the cells beside it.
    """
    text = " ".join(str(value)[: 4 * longest].split())
    kept = "".join(
        c
        for c in text
        if c not in _BIDI and unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp")
    )
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"


def as_html(value: Any, longest: int = LONGEST) -> str:
    """Escape text for HTML, also inside double-quoted attributes."""
    return html.escape(clean(value, longest), quote=True)


def as_markdown(value: Any, longest: int = LONGEST) -> str:
    """Escape text for Markdown, also inside a table: no markup, no HTML, no links."""
    text = html.escape(clean(value, longest), quote=False)
    text = _AUTOLINK.sub(lambda found: f"&#{ord(found[0])};", text)
    text = _MARKDOWN.sub(r"\\\1", text)
    return _AT_START.sub(r"\1\\\2", text)


def escape_pipe(text: str) -> str:
    """A text of ours for a cell of a Markdown table: its markup stays."""
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def as_cell(value: Any, longest: int = LONGEST) -> str:
    """Escape text for a CSV cell.

    Text that a spreadsheet would read as a formula (``= + - @ ;`` first) gets a leading ``'``, as
    OWASP advises, and so does what could start a formula in a cell further on; numbers of ours do not
    pass here.
    """
    text = _LATER_FORMULA.sub(r"\1'", clean(value, longest))
    return "'" + text if _first_seen(text) in FORMULA else text


def _first_seen(text: str) -> str:
    """The first character that can be seen; empty if there is none."""
    return next((c for c in text if not c.isspace() and unicodedata.category(c)[0] not in "CM"), "")


def as_exact_cell(text: str) -> str:
    """A text for a CSV cell that gives it back, but for a leading ``'`` before a would-be formula.

    Control characters are escaped, since a table may be printed to a terminal.
    """
    if text[:1] in FORMULA or _first_seen(text) in FORMULA:
        text = f"'{text}"
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        text = "".join(printable(c) if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return text


def counted(n: int, noun: str) -> str:
    """A number with its noun, ``1 arm`` or ``2 arms``."""
    return f"{n} {noun}{'s' * (n != 1)}"


def as_json(data: Any) -> str:
    """JSON that may stand inside ``<script type="application/json">``."""
    text = json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":"))
    # ASCII only, so that U+2028 and U+2029 are escaped as well.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def safe_link(value: Any) -> str | None:
    """An http(s) address with nothing that could end an attribute or a Markdown link, or None."""
    text = str(value)
    if len(text) > 500 or text != clean(text, 500) or " " in text:
        return None
    try:
        parts = urlsplit(text)
        known = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        )
    except ValueError:
        return None
    return (
        quote(text, safe=":/?#&=%~+,;@!$*-._[]").replace("[", "%5B").replace("]", "%5D")
        if known
        else None
    )
