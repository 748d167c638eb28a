"""Output on streams that cannot show every character, such as a terminal or a pipe in ASCII."""

from __future__ import annotations

import codecs
import io
import unicodedata
from typing import Any

ERRORS = "clbench_plain"
"""The name under which ``encode_plainly`` is registered."""
PLAIN = {
    "±": "+/-",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "×": "x",
    "·": "*",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "★": "*",
    "●": "*",
}


def show_everything(*streams: Any) -> None:
    """Make text streams write something plain for a character that their encoding lacks.

    A stream whose errors the user chose (``PYTHONIOENCODING=ascii:replace``) stays as it is.
    """
    codecs.register_error(ERRORS, encode_plainly)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace"):
            stream.reconfigure(errors=ERRORS)


def encode_plainly(error: UnicodeError) -> tuple[str, int]:
    """ASCII in place of what cannot be encoded, and where to go on: an error handler of ``codecs``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


def plain(char: str) -> str:
    """A character in ASCII: its like if there is one, a line for a line, else its number."""
    if char.isascii():
        return char
    if char in PLAIN:
        return PLAIN[char]
    name = unicodedata.name(char, "")
    if name.startswith("BOX DRAWINGS"):
        across = any(word in name for word in ("HORIZONTAL", "LEFT", "RIGHT"))
        return "+" if " AND " in name else "-" if across else "|"
    if name.startswith("BRAILLE") or "BLOCK" in name:
        return "#"
    return char.encode("ascii", "backslashreplace").decode()
