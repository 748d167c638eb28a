"""Turns links of the repository into links of the site, and shows files and pictures in place."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples/index.md",
}
"""Pages whose files are outside ``docs/``, and their place on the site."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
ADDRESS = re.compile(r'\b(src|href)="([^"]+)"')
INCLUDE = re.compile(r"^<!-- include: (\S+) -->$", re.MULTILINE)
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def place(file: Path) -> str:
    """Where a file of the repository is on the site, below its root.

    Raises:
        ValueError: it is not on the site.
    """
    inside = file.relative_to(ROOT).as_posix()
    if inside in OUTSIDE:
        return OUTSIDE[inside]
    if file.suffix == ".ipynb" and file.is_relative_to(DOCS):
        return file.relative_to(DOCS).with_suffix(".md").as_posix()
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS).as_posix()
    if inside.startswith("examples/") and file.suffix == ".py":
        return f"examples/{file.stem}.md"
    if inside.startswith("leaderboards") and file.name != "board.yaml":
        folder = file if file.is_dir() else file.parent
        has_page = (folder / "index.html").is_file()  # a draft has none
        return f"{folder.relative_to(ROOT).as_posix() if has_page else 'leaderboards'}/index.html"
    raise ValueError(f"{inside} is not on the site")


def rewritten(text: str, origin: Path, page: str, picture: Callable[[Path], str]) -> str:
    """A page's text with links for the site.

    Args:
        text: Markdown as it is in the repository.
        origin: its file there.
        page: its place on the site, such as ``strategies/ewc.md``.
        picture: what stands for an SVG file.
    """

    def target(link: str) -> str:
        path, hash_, anchor = link.partition("#")
        if not path or ":" in path:
            return link
        found = place((origin.parent / path).resolve())
        return posixpath.relpath(found, posixpath.dirname(page) or ".") + hash_ + anchor

    def link(match: re.Match[str]) -> str:
        mark, label, address = match.groups()
        if mark and address.endswith(".svg"):
            return picture((origin.parent / address).resolve())
        return f"{mark}[{label}]({target(address)})"

    def include(match: re.Match[str]) -> str:
        file = (origin.parent / match[1]).resolve()
        return shown(file)

    parts = FENCE.split(text)
    for at in range(0, len(parts), 2):
        part = INCLUDE.sub(include, LINK.sub(link, parts[at]))
        parts[at] = ADDRESS.sub(lambda m: f'{m[1]}="{target(m[2])}"', part)
    return "".join(parts)


def shown(file: Path) -> str:
    """A file as a block of code under its name."""
    name = file.relative_to(ROOT).as_posix()
    return f'```python title="{name}"\n{file.read_text(encoding="utf-8").rstrip()}\n```'
