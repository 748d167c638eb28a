"""The tutorials teach with the public face alone, and show what their code gives."""

from __future__ import annotations

import ast
import copy
import re
from pathlib import Path

import pytest
from notebooks import (
    PAGES,
    code,
    differences,
    executed,
    pictures,
    read,
    same_picture,
    same_text,
    source,
    texts,
)

import clbench

LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
ALLOWED = {"clbench", "dataclasses", "numpy", "pathlib", "scipy", "torch"}
MOST_BYTES = 60_000
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


def imports(text: str) -> set[tuple[str, str]]:
    """Module and name of each import; ``torch`` as (torch, '')."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {(name.name, "") for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(str(node.module), name.name) for name in node.names}
    return found


def test_there_are_three():
    assert [path.stem[0] for path in PAGES] == ["1", "2", "3"]


@page
def test_only_the_public_face_is_used(path: Path):
    assert hasattr(clbench, "run")
    used = set()
    for cell in code(read(path)):
        lines = source(cell).splitlines(keepends=True)
        used |= imports("".join(line for line in lines if not line.startswith("%%")))
    assert ("clbench", "") in used
    for module, name in used:
        assert module.partition(".")[0] in ALLOWED
        assert module == "clbench" or not module.startswith("clbench.")
        assert module != "clbench" or not name or name in clbench.__all__


@page
def test_the_first_cell_says_how_long_it_takes(path: Path):
    first = read(path)["cells"][0]
    assert first["cell_type"] == "markdown"
    assert re.search(r"Takes about .* on one core\. Needs no network", source(first))


@page
def test_it_ends_with_a_picture_and_is_small(path: Path):
    notebook = read(path)
    [picture] = pictures(notebook)
    assert len(picture) <= MOST_BYTES
    assert "image/png" in texts(code(notebook)[-1]["outputs"][-1])
    assert path.stat().st_size < 2 * MOST_BYTES
    said = {kind for cell in code(notebook) for one in cell["outputs"] for kind in texts(one)}
    assert said <= {"stream/stdout", "text/plain", "text/html", "image/png"}
    assert [cell["execution_count"] for cell in code(notebook)] == [
        *range(1, len(code(notebook)) + 1)
    ]


@page
def test_links_lead_somewhere(path: Path):
    found = [link for cell in read(path)["cells"] for link in LINK.findall(source(cell))]
    assert found
    assert [link for link in found if not (path.parent / link).exists()] == []


@page
@pytest.mark.notebooks
def test_it_shows_what_its_code_gives(path: Path, tmp_path: Path):
    shown = read(path)
    assert [*differences(shown, executed(shown, tmp_path))] == []


def test_what_differs_is_found():
    shown = read(PAGES[0])
    assert [*differences(shown, shown)] == []
    for change in (lambda text: re.sub(r"\d", "7", text), lambda text: text + "more", lambda _: ""):
        changed = copy.deepcopy(shown)
        for cell in code(changed):
            for output in cell["outputs"]:
                if output["output_type"] == "stream":
                    output["text"] = [change("".join(output["text"]))]
        assert [*differences(shown, changed)]
    lacking = copy.deepcopy(shown)
    code(lacking)[-1]["outputs"] = []
    assert [*differences(shown, lacking)]


def test_texts_and_pictures_are_told_apart():
    assert same_text("er   0.91\n", "er 0.93\n")
    assert not same_text("er 0.91", "er 0.81")
    assert not same_text("er 0.91", "ewc 0.91")
    assert not same_text("seed0 1", "seed1 1")
    found = [
        texts(output)["image/png"]
        for path in PAGES
        for cell in code(read(path))
        for output in cell["outputs"]
        if "image/png" in texts(output)
    ]
    assert same_picture(found[0], found[0])
    assert not same_picture(found[0], found[1])
