"""A report in a real browser, from disk with the network off: it sorts, filters and fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import Chromium, check_dark, check_page
from small import copies, go, record_of, run, short_record

from clbench.cli import main

pytestmark = pytest.mark.browser
WIDTHS = (400, 1400)
N = 200
HEADS = "[...document.querySelectorAll('table.sorted thead th')].map((head) => head.dataset.key)"
SIZES = """[...document.querySelectorAll("table.sorted tbody")].map(
    (body) => body.querySelectorAll("tr[data-arm]").length)"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 200 runs in two scenarios, whose accuracies differ."""
    folder = tmp_path_factory.mktemp("report")
    records = [short_record("naive"), short_record("joint", 0, "strategy.epochs=3")]
    for words in ("strategy=naive seed=0", "strategy=joint seed=1", "strategy=ewc seed=2"):
        one = run("scenario=class_incremental", *words.split())
        records.append(record_of(one, *go(one)))
    copies(records, N, folder / "runs")
    assert main(["report", str(folder / "runs"), "-o", str(folder / "report.html")]) == 0
    assert (folder / "report.html").stat().st_size < 3_000_000
    return folder / "report.html"


def number(cell: str) -> float:
    return float(cell.replace("−", "-").replace(",", "").split()[0])


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_asks_for_nothing(browser: Chromium, report: Path, width: int):
    check_page(browser, report, width)


def test_it_is_dark_when_the_readers_system_is(browser: Chromium, report: Path):
    check_dark(browser, report)


@pytest.mark.parametrize("width", WIDTHS)
def test_it_sorts_by_a_column(browser: Chromium, report: Path, width: int):
    browser.open(report, width)
    before = browser.rows("data-arm")
    assert len(before) == N
    key = "forgetting"
    at = browser.get(HEADS).index(key)
    for direction in ("ascending", "descending"):
        assert browser.press(key) == direction
        shown = browser.rows("data-arm")
        assert sorted(shown) == sorted(before)
        start, several = 0, 0
        for size in browser.get(SIZES):
            cells = [row[at] for row in shown[start : start + size]]
            start += size
            values = [number(cell) for cell in cells if cell != "–"]
            several += len(set(values)) > 1
            assert values == sorted(values, reverse=direction == "descending")
            assert cells[len(values) :] == ["–"] * (len(cells) - len(values)), "unknown comes last"
        assert start == N
        assert several, "some values differ"
    assert browser.get("location.hash").startswith(f"#sort={key}")
    browser.quiet(report)


def test_it_filters_and_links_to_what_it_shows(browser: Chromium, report: Path):
    browser.open(report, 400)
    before = browser.rows("data-arm")
    browser.find("ewc")
    shown = browser.rows("data-arm")
    assert shown == [row for row in before if "ewc" in row[0]]
    assert 0 < len(shown) < len(before)
    counted = browser.get("document.forms.controls.elements.count.value")
    assert counted == f"{len(shown)} of {N} arms"
    scenarios = browser.get(
        "[...document.querySelectorAll('section[data-scenario]:not([hidden])')]"
        ".map((one) => one.dataset.scenario)"
    )
    assert set(scenarios) == {"class_incremental"}
    assert browser.fits()
    link = browser.get("location.hash")
    browser.open(report, 1400)
    assert len(browser.rows("data-arm")) == N
    browser.get(f"location.hash = {link!r}; dispatchEvent(new Event('hashchange')); 0")
    assert browser.rows("data-arm") == shown
    browser.quiet(report)


def test_what_is_amiss_is_seen(browser: Chromium, tmp_path: Path):
    """What the tests ask can fail: a page that calls somebody, throws, is too wide and never dark."""
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><title>x</title><img src="http://127.0.0.1:9/x.png">'
        f'<div style="width: 900px">{"wide " * 99}</div><script>throw new Error("thrown")</script>'
    )
    browser.open(page, 400)
    assert not browser.fits()
    assert "http://127.0.0.1:9/x.png" in browser.asked
    assert any("thrown" in one for one in browser.errors)
    for check in (browser.quiet, lambda page: check_dark(browser, page)):
        with pytest.raises(AssertionError):
            check(page)
