"""Finds what a reader cannot see in a text, words of two alphabets, and names that look the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

MOST_MARKS = 3
"""Combining marks on one letter."""
BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and symbols that show nothing; other such characters are not printable."""
TOGETHER = frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL"})
"""Alphabets that are written together in one word."""
_LIKE_LATIN = str.maketrans(
    "авекмнорстухѕіјԁԛԝһӏαβεζηικμνορτυχγ",
    "abekmhopctyxsijdqwhlabezhikmnoptuxy",
)
"""Small letters, of what was folded, that look like Latin ones, small or capital."""
_LIKE_L = str.maketrans({"I": "l", "|": "l", "1": "l", "0": "o"})


def fault_of_text(text: str) -> str:
    """Why a text cannot be shown as it is, as a clause; empty if it can."""
    for char in text:
        if not char.isprintable() or char in BLANKS or _is_selector(char):
            return f"holds U+{ord(char):04X}, which cannot be seen"
    alone = any(_is_mark(char) and not before.strip() for before, char in pairwise(f" {text}"))
    if alone or any(len(marks) > MOST_MARKS for marks in _marks(text)):
        return f"has combining marks without a letter, or more than {MOST_MARKS} on one"
    for word in _words(text):
        scripts = {_script(char) for char in word}
        if len(scripts) > 1 and not scripts <= TOGETHER:
            kinds = " and ".join(script.title() for script in sorted(scripts))
            return f"mixes {kinds} letters in the word {word!r}"
    return ""


def shows_something(text: str) -> bool:
    """Whether a text has a letter or digit that can be seen."""
    return any(char.isalnum() and char not in BLANKS for char in text)


def looks_of(name: str) -> frozenset[str]:
    """What a name looks like; two names can be taken for each other where any of these is in both.

    Case, widths, fonts, accents and the number of spaces do not count, nor does which alphabet a letter
    is of.
    """
    return frozenset(
        {_folded(name), _folded(unicodedata.normalize("NFKC", name).translate(_LIKE_L))}
    )


def _folded(name: str) -> str:
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(c for c in text if not _is_mark(c) and c.isprintable() and c not in BLANKS)
    return " ".join(seen.translate(_LIKE_LATIN).split())


def _is_selector(char: str) -> bool:
    """Whether a character only selects another one's variant."""
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def _is_mark(char: str) -> bool:
    return bool(char) and unicodedata.category(char).startswith("M")


def _marks(text: str) -> Iterator[str]:
    """The marks on each letter that has some."""
    shown = "".join("m" if _is_mark(char) else " " for char in unicodedata.normalize("NFD", text))
    yield from shown.split()


def _words(text: str) -> Iterator[str]:
    """Letters that follow each other, in the form that fonts and widths do not change."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if not _is_mark(c))
    yield from re.findall(r"[^\W\d_]+", plain)


def _script(char: str) -> str:
    """The alphabet of a letter, by the first word of its name."""
    return unicodedata.name(char, "UNNAMED").split()[0]
