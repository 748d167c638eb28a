"""The table of strategies is the one that the plug-ins give."""

from __future__ import annotations

import pytest

from benchmarks.strategies_table import PAGE, page
from clbench.plugins.registry import plugins

pytestmark = pytest.mark.usefixtures("shared_cache")


def cells(text: str) -> list[list[str]]:
    """The rows, each by its cells."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


def test_the_page_is_written_from_the_plug_ins():
    """After a change: python -m benchmarks.strategies_table --write."""
    written, fresh = PAGE.read_text(encoding="utf-8"), page(lambda *_: (1.0, 1))
    assert [row[0] for row in cells(written)] == [f"`{name}`" for name in plugins("strategy")]
    for old, new in zip(cells(written), cells(fresh), strict=True):
        assert (old[:5], old[7]) == (new[:5], new[7])
    assert written.split("| `")[0] == fresh.split("| `")[0]


@pytest.mark.slow
def test_its_numbers_are_those_that_are_counted():
    assert PAGE.read_text(encoding="utf-8") == page()
