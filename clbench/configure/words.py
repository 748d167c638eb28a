"""The values of ``key=value`` words: cut at commas, with quotes, brackets and ranges.

A value in single or double quotes is taken as it is; the same quote, doubled, stands for one. A quote
counts only where it opens a value, so that the apostrophe of ``it's.npz`` is a letter.
"""

from __future__ import annotations

import re
from pathlib import Path

from clbench.errors import UsageError

QUOTES = "'\""
RANGE = re.compile(r"(\d+)\.\.(\d+)")


class Quoted(str):
    """A value that was in quotes: text, even where it looks like a list, a range or null."""

    __slots__ = ()


def quote(value: str) -> str:
    """A value in quotes, as one types it (behind the shell's own quotes)."""
    return "'" + value.replace("'", "''") + "'"


def unquote(part: str) -> str:
    """A value without its quotes, if it is in quotes."""
    if not _is_quoted(part):
        return part
    return Quoted(part[1:-1].replace(2 * part[0], part[0]))


def as_typed(value: str) -> str:
    """A single value as one types it: in quotes where it would otherwise be cut or changed."""
    changed = value[:1] in ("'", '"') or RANGE.fullmatch(value) or cut(f"{value},x") != [value, "x"]
    return quote(value) if isinstance(value, Quoted) or changed else value


def split_top(text: str) -> list[str]:
    """Split at commas outside brackets and quotes: ``a,[1,2],'b,c'`` is ``a``, ``[1,2]``, ``b,c``.

    An inclusive range of integers, ``0..4``, counts as its members.

    Raises:
        UsageError: a quote is not closed, or a range is empty or too long.
    """
    values: list[str] = []
    for part in cut(text):
        if part and part[0] in QUOTES:
            if not _is_quoted(part):
                raise UsageError(
                    f"{part}: the quote at its start is not closed at its end; to take it as it is, "
                    f"write {quote(part)}"
                )
            values.append(unquote(part))
            continue
        bounds = RANGE.fullmatch(part)
        if not bounds:
            values.append(part)
            continue
        if len(part) > 40:
            raise UsageError(f"range {part[:40]}... has numbers that are too large")
        low, high = int(bounds[1]), int(bounds[2])
        if high < low or high - low > 100_000:
            raise UsageError(f"range {part} is empty or too long")
        values += [str(i) for i in range(low, high + 1)]
    return values


def cut(text: str) -> list[str]:
    """The parts between commas as they were typed, quotes included."""
    parts, depth, start, at, before = [], 0, 0, 0, ""
    while at < len(text):
        char = text[at]
        if char in QUOTES and (at == start or (depth > 0 and before in tuple("[{(,:"))):
            end = _closing(text, at)
            if depth > 0 or text[end + 1 : end + 2] in ("", ","):
                at = end
        elif char in "[{(":
            depth += 1
        elif char in "]})":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
        before = before if char == " " else char
        at += 1
    return [*parts, text[start:]]


def _closing(text: str, at: int) -> int:
    """Where the quote that opens at ``at`` is closed; ``at`` itself if nowhere."""
    end = at
    while (end := text.find(text[at], end + 1)) >= 0:
        if text[end + 1 : end + 2] != text[at]:
            return end
        end += 1
    return at


def _is_quoted(part: str) -> bool:
    return len(part) > 1 and part[0] in QUOTES and _closing(part, 0) == len(part) - 1


def without_folder(word: str) -> str:
    """A word with the folder of a path taken off: it goes into the record."""
    key, _, text = word.partition("=")
    if "/" not in text and "\\" not in text:
        return word
    return f"{key}={','.join(_shown(part) for part in cut(text))}"


def _shown(part: str) -> str:
    name = _file_name(unquote(part))
    return quote(name) if _is_quoted(part) else name


def _file_name(value: str) -> str:
    """The last part of a path, which may stand behind the ``name:`` of a plug-in."""
    name, colon, path = value.partition(":")
    if colon and len(name) > 1 and name.isidentifier():  # one letter: a drive of Windows
        return f"{name}:{Path(path).name}"
    return Path(value).name
