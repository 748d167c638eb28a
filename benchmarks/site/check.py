"""Looks through a built site: every link leads somewhere, and nothing is loaded from other hosts.

``python -m benchmarks.site.check site`` prints what is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

LOADED = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("image", "href"),
}
"""Attributes whose address a browser fetches by itself; ``link`` depends on its ``rel``."""
NOT_FETCHED = {"canonical", "prev", "next", "alternate", "license", "author"}
FOREIGN = re.compile(r"(?:https?:)?//")
IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')]+)""")


class Page(HTMLParser):
    """The names and the addresses of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names, links and loads."""
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if given.get(name)}
        for name in ("href", "src"):
            if given.get(name):
                self.links.append(given[name])
                fetched = tag == "link" and not NOT_FETCHED & {*given.get("rel", "").split()}
                if (tag, name) in LOADED or fetched:
                    self.loaded.append(given[name])


def faults(site: Path) -> list[str]:
    """What is wrong, a line each; none where all is well."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = [
        f"{path.relative_to(site)}: {what}"
        for path, page in pages.items()
        # The page for what is not found names absolute addresses, as it is shown for any of them.
        if path != site / "404.html"
        for what in _broken(path, page, pages)
    ]
    for path, page in pages.items():
        found += [f"{path.relative_to(site)} loads {a}" for a in page.loaded if FOREIGN.match(a)]
    for path in (*pages, *site.rglob("*.css")):
        styles = IN_STYLE.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(site)} loads {address}" for address in styles]
    return found


def _broken(path: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    for link in dict.fromkeys(page.links):
        address, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:|//", address):
            continue
        file = (path.parent / unquote(address.partition("?")[0])).resolve() if address else path
        file = file / "index.html" if file.is_dir() else file
        if not file.is_file():
            yield f"{link} leads nowhere"
        elif anchor and file in pages and unquote(anchor) not in pages[file].names:
            yield f"{link} has no such place"


def main(words: Iterable[str]) -> int:
    """Print the faults; 1 where there are any."""
    [folder] = words
    found = faults(Path(folder).resolve())
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
