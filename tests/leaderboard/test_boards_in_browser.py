"""The boards' pages in a real browser, from disk with the network off."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic
from chromium import Chromium, check_dark, check_page

from clbench.configure.board import Board
from clbench.leaderboard.pages.html import to_html
from clbench.leaderboard.pages.summary import summarise

pytestmark = pytest.mark.browser
BOARDS = Path(__file__).parents[2] / "leaderboards"
PAGES = [path.relative_to(BOARDS) for path in sorted(BOARDS.rglob("index.html"))]
WIDTHS = (400, 1400)
NAMES = """[...document.querySelectorAll("#table tbody")].map((body) =>
    [...body.querySelectorAll("tr[data-entry] .entry a")].map((a) => a.innerText.toLowerCase()))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a board with entries."""
    board: Board = synthetic.showcase(tmp_path_factory.mktemp("b") / "scole-digits", n_tasks=30)
    path = board.folder / "index.html"
    path.write_text(to_html(board, summarise(board, synthetic.validate)), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES, ids=str)
def test_the_boards_fit_and_ask_for_nothing(browser: Chromium, name: Path, width: int):
    check_page(browser, BOARDS / name, width)


def test_there_are_boards():
    assert len(PAGES) > 1
    assert Path("index.html") in PAGES


@pytest.mark.parametrize("width", WIDTHS)
def test_a_board_with_entries_fits_and_asks_for_nothing(browser: Chromium, page: Path, width: int):
    check_page(browser, page, width)


def test_they_are_dark_when_the_readers_system_is(browser: Chromium, page: Path):
    for one in (page, BOARDS / "index.html"):
        check_dark(browser, one)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_board_sorts_and_filters(browser: Chromium, page: Path, width: int):
    browser.open(page, width)
    before = browser.rows("data-entry")
    assert len(before) > 3
    several = 0
    for direction in ("ascending", "descending"):
        assert browser.press("name") == direction
        for group in browser.get(NAMES):
            several += len(group) > 1
            assert group == sorted(group, reverse=direction == "descending")
    assert several, "a division has several entries"
    assert sorted(browser.rows("data-entry")) == sorted(before)
    browser.find("ewc")
    shown = browser.rows("data-entry")
    assert 0 < len(shown) < len(before)
    counted = browser.get("document.forms.controls.elements.count.value")
    assert counted == f"{len(shown)} of {len(before)} entries"
    assert browser.fits()
    browser.find("")
    assert len(browser.rows("data-entry")) == len(before)
    browser.quiet(page)
