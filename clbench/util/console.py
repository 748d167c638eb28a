"""Output on streams that cannot show every character, such as a terminal or a pipe in ASCII."""

from __future__ import annotations

import codecs
import io
import os
import shutil
import sys
import textwrap
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


def let_go(*streams: Any) -> None:
    """Flush streams; one that nobody reads any more, or that is full, is led to nothing.

    The interpreter's own flush at its end would fail again, and say so.
    """
    for stream in streams:
        try:
            stream.flush()
        except (AttributeError, ValueError):  # None, or closed
            continue
        except OSError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)


def printable(text: str) -> str:
    """Text with every character escaped that a terminal would obey, or that cannot be seen.

    Such are control characters, and marks that reorder what stands beside them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(ord(c)) for c in text)


def one_line(text: str) -> str:
    """Text of strangers in one printable line."""
    return printable(" ".join(text.split()))


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this process."""
    return "ipykernel" in sys.modules


def wrapped(text: str, stream: Any, indent: str = "") -> str:
    """A line for a stream: on a terminal broken at words where it is full, elsewhere as it is.

    Args:
        text: one line.
        stream: that it is for.
        indent: of its second line and those after.
    """
    if not bool(getattr(stream, "isatty", bool)()):
        return text
    width = max(shutil.get_terminal_size().columns, len(indent) + 20)
    broken = textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(broken)


def has_codes(stream: Any) -> bool:
    """Whether a stream takes colours and moves of the cursor: a terminal, unless NO_COLOR is set."""
    is_terminal = bool(getattr(stream, "isatty", bool)())
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


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
