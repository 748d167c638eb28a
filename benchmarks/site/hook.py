"""What mkdocs does besides: adds the pages that are made from plug-ins, and makes links right.

Named in ``mkdocs.yml``. The pages are made anew in every build; ``docs/`` has none of them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # mkdocs loads this file by its path
    sys.path.insert(0, str(ROOT))

LISTED = {"strategies.md": "strategy", "choosing.md": "scenario"}
"""Pages with a table of plug-ins. Their names become links, as their pages are on the site only."""


def on_config(config: Any) -> Any:
    """Fill in the navigation: a section of its own for each group of plug-ins."""
    from benchmarks import strategies_table as table
    from benchmarks.site import pages
    from clbench.plugins.registry import plugins

    families: dict[str, list[str]] = {}
    for name, plugin in plugins("strategy").items():
        families.setdefault(table.family(plugin), []).append(pages.address("strategy", name))
    found = {
        "strategies": [{name.capitalize(): files} for name, files in sorted(families.items())],
        "api": [f"api/{name}.md" for name in pages.FACES],
        "tutorials": [f"tutorials/{path.stem}.md" for path in _notebooks()],
    }
    for group, place in pages.PLACES.items():
        if group != "strategy":
            found[place] = [pages.address(group, name) for name in plugins(group)]
            if group in pages.TITLES:
                found[place].insert(0, f"{place}/index.md")
    config.nav = _filled(config.nav, found)
    return config


def _filled(nav: Any, found: dict[str, Any]) -> Any:
    """The navigation with ``<name>`` in place of the files that belong there."""
    if isinstance(nav, dict):
        return {title: _filled(inside, found) for title, inside in nav.items()}
    if not isinstance(nav, list):
        return nav
    filled: list[Any] = []
    for item in nav:
        is_mark = isinstance(item, str) and item.startswith("<")
        filled += found[item.strip("<>")] if is_mark else [_filled(item, found)]
    return [item for item in filled if not isinstance(item, dict) or all(item.values())]


def _notebooks() -> list[Path]:
    return sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def on_files(files: Any, config: Any) -> Any:
    """Add what is generated, and what is outside ``docs/``."""
    from mkdocs.structure.files import File

    from benchmarks.site import links, notebook, pages

    texts = pages.generated()
    texts |= {
        place: (ROOT / name).read_text(encoding="utf-8") for name, place in links.OUTSIDE.items()
    }
    for path in sorted((ROOT / "examples").glob("*.py")):
        texts[links.place(path)] = f"# {path.name}\n\n{links.shown(path)}\n"
    texts |= {f"tutorials/{path.stem}.md": notebook.page(path) for path in _notebooks()}
    texts["index.md"] = f"---\ntitle: {config.site_name}\n---\n{texts['index.md']}"
    for place, text in texts.items():
        files.append(File.generated(config, place, content=text))
    boards = ROOT / "leaderboards"
    for path in [*boards.glob("*.html"), *boards.glob("*/*.html"), *boards.glob("*/*.csv")]:
        place = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Make links right, and show pictures and files in place."""
    from benchmarks.site import concepts, figures, links, pages
    from clbench.plugins.registry import plugins

    place = page.file.src_uri
    outside = {there: ROOT / name for name, there in links.OUTSIDE.items()}
    origin = outside.get(place) or ROOT / "docs" / place
    if place in pages.generated_places() or (
        place.startswith("examples/") and place not in outside
    ):
        return markdown
    group = LISTED.get(place)
    for name in plugins(group) if group else ():
        address = pages.address(group, name)
        markdown = re.sub(rf"\| `{name}`", f"| [`{name}`]({address})", markdown)

    def picture(path: Path) -> str:
        return figures.caption(concepts.inline(path.read_text(encoding="utf-8")).strip(), "")

    return links.rewritten(markdown, origin, place, picture)
