"""Links of the repository become links of the site; files and pictures are shown in place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.site import links, notebook
from benchmarks.site.prose import block, inline

ROOT = links.ROOT
GUIDES = ROOT / "docs" / "guides.md"


def on_site(text: str, origin: Path = GUIDES, page: str = "guides.md") -> str:
    return links.rewritten(text, origin, page, lambda path: f"<{path.name}>")


@pytest.mark.parametrize(
    ("link", "origin", "page", "expected"),
    [
        ("data.md#a", GUIDES, "guides.md", "data.md#a"),
        ("docs/data.md", ROOT / "README.md", "index.md", "data.md"),
        ("../data.md", ROOT / "docs/concepts/run.md", "concepts/run.md", "../data.md"),
        ("../README.md#x", GUIDES, "guides.md", "index.md#x"),
        ("../examples/model.py", GUIDES, "guides.md", "examples/model.md"),
        ("model.py", ROOT / "examples/README.md", "examples/index.md", "model.md"),
        ("../leaderboards/README.md", GUIDES, "guides.md", "leaderboards/index.html"),
        ("../leaderboards/long-tail", GUIDES, "guides.md", "leaderboards/long-tail/index.html"),
        ("../leaderboards/withdrawn.md", GUIDES, "guides.md", "leaderboards/index.html"),
        ("tutorials/1_a.ipynb", GUIDES, "guides.md", "tutorials/1_a.md"),
        ("https://x.org/a.md", GUIDES, "guides.md", "https://x.org/a.md"),
        ("#here", GUIDES, "guides.md", "#here"),
    ],
)
def test_a_link_leads_to_the_same_on_the_site(link: str, origin: Path, page: str, expected: str):
    assert on_site(f"[x]({link})", origin, page) == f"[x]({expected})"


def test_a_link_to_what_the_site_lacks_is_refused():
    with pytest.raises(ValueError, match=r"tests/golden\.py is not on the site"):
        on_site("[x](../tests/golden.py)")


def test_code_is_left_alone_and_files_are_shown():
    code = "```python\nx = a[0](../README.md)\n```"
    assert on_site(code) == code
    shown = on_site("a\n\n<!-- include: ../examples/model.py -->\n")
    assert (ROOT / "examples" / "model.py").read_text(encoding="utf-8").rstrip() in shown
    assert on_site("![a](concepts/run.svg)") == "<run.svg>"
    assert on_site("![a](why.png)") == "![a](why.png)"


def test_every_guide_shows_its_file():
    shown = on_site(GUIDES.read_text(encoding="utf-8"))
    for path in (ROOT / "examples").glob("*.py"):
        assert f'```python title="examples/{path.name}"' in shown


def test_docstrings_become_markdown():
    assert inline("a * b_c < `x*y` arXiv 2301.00001") == (
        "a \\* b_c &lt; `x*y` [arXiv 2301.00001](https://arxiv.org/abs/2301.00001)"
    )
    assert block("One:\n- a\n- b\n\n    code * here\n\nthus::\n\n    x") == (
        "One:\n\n- a\n- b\n\n    code * here\n\nthus:\n\n    x"
    )


def test_a_notebook_is_a_page(tmp_path: Path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {
            "cell_type": "code",
            "source": ["1 + 1"],
            "outputs": [
                {"output_type": "execute_result", "data": {"text/plain": ["2"]}},
                {"output_type": "display_data", "data": {"image/png": "AAAA\n", "text/plain": "F"}},
            ],
        },
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    text = notebook.page(path)
    assert text.startswith("# Title\ntext\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n\n<img ")
    assert 'src="data:image/png;base64,AAAA"' in text
