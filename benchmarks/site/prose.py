"""Turns docstrings into Markdown: what is no code is escaped, and papers are linked."""

from __future__ import annotations

import re

CODE = re.compile(r"(``.+?``|`[^`\n]+`)", re.DOTALL)
ARXIV = re.compile(r"\barXiv[: ]+(\d{4}\.\d{4,5})\b")
LIST = re.compile(r"\s*(?:[-*]|\d+\.) ")


def inline(text: str) -> str:
    """Text of one paragraph, a list or a cell."""
    parts = CODE.split(text)
    for at in range(0, len(parts), 2):
        plain = parts[at].replace("\\", "\\\\").replace("<", "&lt;").replace("|", "\\|")
        plain = re.sub(r"(?m)(?<!^)\*", r"\\*", plain)
        plain = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", plain)
        parts[at] = ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", plain)
    for at in range(1, len(parts), 2):
        parts[at] = " ".join(parts[at].split())
    return "".join(parts)


def block(text: str) -> str:
    """A docstring's paragraphs: lists and code by indentation stay, ``::`` becomes a colon."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if all(line.startswith("    ") for line in paragraph.splitlines()):
            found.append(paragraph)
            continue
        lines: list[str] = []
        for line in inline(re.sub(r"::$", ":", paragraph)).splitlines():
            # A list right below a line is a list only after an empty one.
            if LIST.match(line) and lines and not any(LIST.match(above) for above in lines):
                lines.append("")
            lines.append(line)
        found.append("\n".join(lines))
    return "\n\n".join(found)


def code(text: str) -> str:
    """Text as code, in a cell too."""
    marks = "``" if "`" in text else "`"
    return f"{marks}{text}{marks}".replace("|", "\\|") if text else ""
