"""The site is built without a warning, has no broken link, and loads nothing from other hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.site import check, pages

ROOT = Path(__file__).parents[2]


@pytest.mark.docs
@pytest.mark.skipif(find_spec("mkdocstrings") is None, reason="needs the extra docs")
def test_the_site_is_whole(tmp_path: Path):
    site = tmp_path / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    assert check.faults(site) == []
    for place in pages.generated_places():
        assert (site / place).with_suffix(".html").is_file(), place


def test_faults_are_found(tmp_path: Path):
    (tmp_path / "a.html").write_text(
        '<h1 id="here">A</h1><a href="b.html">b</a><a href="#there">x</a><a href="c.html#no">c</a>'
        '<script src="https://x.org/y.js"></script><link rel="stylesheet" href="//x.org/y.css">'
        '<link rel="canonical" href="https://x.org/a"><a href="https://x.org">fine</a>'
    )
    (tmp_path / "c.html").write_text('<p id="yes"></p><a href="a.html#here">a</a>')
    (tmp_path / "d.css").write_text("@import 'https://x.org/z.css'; a {background: url(e.png)}")
    assert check.faults(tmp_path) == [
        "a.html: b.html leads nowhere",
        "a.html: #there has no such place",
        "a.html: c.html#no has no such place",
        "a.html loads https://x.org/y.js",
        "a.html loads //x.org/y.css",
        "d.css loads https://x.org/z.css",
    ]
