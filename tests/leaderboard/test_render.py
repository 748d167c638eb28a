"""Tables and pages: the same bytes twice, hostile texts as text, no outside address."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from synthetic import record, write_board, write_entry

from clbench.configure.board import Board
from clbench.leaderboard.entry import Meta
from clbench.leaderboard.pages import render
from clbench.leaderboard.pages.columns import facts
from clbench.leaderboard.pages.csv import to_csv
from clbench.leaderboard.pages.html import to_html
from clbench.leaderboard.pages.index import index_html
from clbench.leaderboard.pages.markdown import GENERATED, to_markdown
from clbench.leaderboard.pages.summary import EntryRow, SeedScore, summarise
from clbench.results.tables import Interval
from clbench.util.text import (
    as_cell,
    as_exact_cell,
    as_html,
    as_json,
    as_markdown,
    clean,
    safe_link,
)

HOSTILE = (
    "</script><img src=x onerror=alert(1)>\"'|`[x](javascript:alert(1))\u2028\u202e&amp;\n"
    "http://evil.test www.evil.test"
)
VOID = {"meta", "link", "input", "img", "br", "hr"}


class Page(HTMLParser):
    """Every tag, attribute and text of a page; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: dict[str | None, str] = {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[self.tags[-1][1].get("type")] = data
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return synthetic.showcase(tmp_path_factory.mktemp("boards") / "scole-digits", n_tasks=30)


@pytest.fixture(scope="module")
def rows(board: Board) -> list[EntryRow]:
    return summarise(board, synthetic.validate)


def hostile(board: Board) -> list[EntryRow]:
    """Rows with a hostile text wherever a text can be."""
    row = summarise(board)[0]
    evil = dict.fromkeys(("strategy", "lam", HOSTILE), HOSTILE)
    bad = dataclasses.replace(
        row,
        slug=HOSTILE,
        name=HOSTILE,
        strategy=HOSTILE,
        authors=(HOSTILE,),
        affiliation=HOSTILE,
        description=HOSTILE,
        url="javascript:alert(1)",
        code=f"https://x.test/{HOSTILE}",
        notes=(HOSTILE,),
        warnings=(HOSTILE,),
        flags=(HOSTILE,),
        settings={"strategy": evil, HOSTILE: evil},
        environment=evil,
        sources=evil,
        source_sha256=HOSTILE,
        version=evil,
        tuning=evil,
        declares=evil,
        paper_reference={"value": HOSTILE, "source": HOSTILE},
        verification=evil,
        seeds=(*row.seeds[:-1], SeedScore(4, 0.0, HOSTILE)),
    )
    lost = dataclasses.replace(
        bad, slug=HOSTILE + "2", errors=(HOSTILE,), division=HOSTILE, rank_range=None
    )
    return [bad, lost]


def test_same_bytes_twice(board: Board) -> None:
    root = board.folder.parent
    assert render.render_all(root, synthetic.validate) == render.render_all(
        root, synthetic.validate
    )


def test_written_once_then_up_to_date(tmp_path: Path) -> None:
    made = write_board(synthetic.board(tmp_path / "scole-digits"))
    write_entry(made, "ewc", Meta("EWC", "ewc"), [record(s) for s in synthetic.SEEDS])
    files = render.render_all(tmp_path)
    assert len(render.stale(files)) == 6
    assert render.write(files) == list(files)
    assert render.write(render.render_all(tmp_path)) == []
    (made.folder / "leaderboard.csv").write_text("changed by hand")
    assert render.stale(render.render_all(tmp_path)) == [made.folder / "leaderboard.csv"]


def test_a_board_without_entries(tmp_path: Path) -> None:
    made = write_board(synthetic.board(tmp_path / "scole-digits"))
    files = render.render_all(tmp_path)
    assert "No entries yet" in files[made.folder / "README.md"]
    page = Page(files[made.folder / "index.html"])
    assert page.scripts == {}, "there is nothing to sort"
    assert "No entries yet" in files[tmp_path / "index.html"]


def test_settings_are_said_as_they_are_written_in_words(board: Board) -> None:
    data = {
        "name": "synbols",
        "gray": True,
        "fonts_path": None,
        "split": [],
        "alphabets": ["a", "b"],
    }
    told = dict(facts(dataclasses.replace(board, settings={**board.settings, "data": data}), []))
    assert told["Data"] == "synbols: gray true, alphabets [a, b]"


def test_every_entry_is_in_every_output(board: Board, rows: list[EntryRow]) -> None:
    page = to_html(board, rows)
    for text in (to_markdown(board, rows), page):
        for row in rows:
            assert clean(row.name) in text
    table = list(csv.DictReader(io.StringIO(to_csv(board, rows))))
    assert [line["entry"] for line in table] == [row.slug for row in rows]
    panels = [a["id"] for tag, a in Page(page).tags if tag == "details"]
    assert panels == [f"entry-{row.slug}" for row in rows]


def test_order_is_by_mean_within_divisions(board: Board, rows: list[EntryRow]) -> None:
    table = [line for line in csv.DictReader(io.StringIO(to_csv(board, rows))) if line["primary"]]
    for division in ("network", "open"):
        lines = [line for line in table if line["division"] == division]
        found = [(line["rank_low"] == "", -float(line["primary"])) for line in lines]
        assert found == sorted(found)  # what was verified comes before what is claimed
        assert len(found) > 1
    listed = [
        a["data-entry"]
        for tag, a in Page(to_html(board, rows)).tags
        if tag == "tr" and "data-entry" in a
    ]
    assert listed == [row.slug for row in rows]


def test_csv_has_the_numbers(board: Board, rows: list[EntryRow]) -> None:
    for line, row in zip(csv.DictReader(io.StringIO(to_csv(board, rows))), rows, strict=True):
        if not row.ranked:
            assert line["primary"] == line["seed_0"] == line["world_accuracy"] == ""
            continue
        scores = [float(line[f"seed_{seed}"]) for seed in board.seeds]
        assert scores == pytest.approx([s.score for s in row.seeds])
        assert float(line["primary"]) == pytest.approx(sum(scores) / len(scores))
        scale = board.ceiling.mean - board.floor.mean
        assert float(line["normalised"]) * scale + board.floor.mean == pytest.approx(
            float(line["primary"])
        )


def test_csv_has_metrics_of_groups_where_an_entry_has_a_value(
    board: Board, rows: list[EntryRow]
) -> None:
    assert "worst_group_accuracy" not in to_csv(board, rows).splitlines()[0].split(",")
    at = next(n for n, row in enumerate(rows) if row.ranked)
    values = {**rows[at].values, "worst_group_accuracy": Interval(0.25, None, 1)}
    grouped = [*rows[:at], dataclasses.replace(rows[at], values=values), *rows[at + 1 :]]
    lines = list(csv.DictReader(io.StringIO(to_csv(board, grouped))))
    assert [line["worst_group_accuracy"] for line in lines].count("0.25") == 1
    assert lines[at]["worst_group_accuracy"] == "0.25"


def test_unranked_show_no_numbers(board: Board, rows: list[EntryRow]) -> None:
    (lost,) = [row for row in rows if not row.ranked]
    page = Page(to_html(board, rows))
    data = json.loads(page.scripts["application/json"])
    assert [e["values"] for e in data["entries"] if e["slug"] == lost.slug] == [{}]
    assert not any(
        a.get("data-entry") == lost.slug for tag, a in page.tags if tag in ("polyline", "g")
    )


def test_page_has_no_outside_address_but_the_entries(board: Board, rows: list[EntryRow]) -> None:
    page = to_html(board, rows)
    own = {row.url for row in rows} | {row.code for row in rows}
    assert set(re.findall(r"https?:[^\"'<\s]*", page)) == own
    assert "//" not in re.sub(r"https?://|// Sorts.*|// What.*", "", page)
    for tag, attributes in Page(page).tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") or name == "style" for name in attributes), attributes
        if (attributes.get("href") or "").startswith("http"):
            assert (tag, attributes["rel"]) == ("a", "noopener nofollow")


def test_page_is_accessible(board: Board, rows: list[EntryRow]) -> None:
    tags = Page(to_html(board, rows)).tags
    kinds = [tag for tag, _ in tags]
    assert kinds.count("caption") == 1
    assert all("scope" in a for tag, a in tags if tag == "th")
    assert all(a.get("aria-label") or a.get("aria-hidden") for tag, a in tags if tag == "svg")
    sorts = [a["aria-sort"] for tag, a in tags if tag == "th" and "data-key" in a]
    assert sorts.count("descending") == 1
    assert set(sorts) == {"descending", "none"}
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert ("html", {"lang": "en"}) in tags


def test_script_data_covers_the_columns_that_sort(board: Board, rows: list[EntryRow]) -> None:
    page = Page(to_html(board, rows))
    data = json.loads(page.scripts["application/json"])
    keys = {a["data-key"] for tag, a in page.tags if tag == "th" and "data-key" in a} - {"name"}
    best = data["entries"][0]
    assert keys == set(best["values"])
    assert data["primary"] == board.primary
    assert best["values"][board.primary] == pytest.approx(rows[0].primary.mean)


def test_policy_allows_exactly_the_script_and_style(board: Board, rows: list[EntryRow]) -> None:
    import base64
    import hashlib

    text = to_html(board, rows)
    page = Page(text)
    (policy,) = [
        a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    for code in (page.scripts[None], style and style[1]):
        digest = base64.b64encode(hashlib.sha256(str(code).encode()).digest()).decode()
        assert f"'sha256-{digest}'" in str(policy)
    assert "unsafe" not in str(policy)
    assert str(policy).startswith("default-src 'none'")


def test_hostile_texts_stay_texts_in_html(board: Board) -> None:
    page = Page(to_html(board, hostile(board)))
    assert {tag for tag, _ in page.tags}.isdisjoint({"img", "iframe", "object", "base", "embed"})
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert not (attributes.get("href") or "").startswith(("http", "javascript"))
    assert any("onerror=alert(1)" in text for text in page.texts)
    assert "\u202e" not in "".join(page.texts)
    json.loads(page.scripts["application/json"])


def test_hostile_texts_stay_texts_in_markdown(board: Board) -> None:
    text = to_markdown(board, hostile(board))
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    flat = [t for token in tokens for t in (token, *(token.children or ()))]
    assert [t.content for t in flat if t.type.startswith("html")] == [GENERATED + "\n"]
    links = {t.attrs["href"] for t in flat if t.type == "link_open"}
    assert links == {"index.html", "leaderboard.csv"}
    assert not [t for t in flat if t.type in ("image", "code_inline", "em_open")]
    assert "onerror=alert(1)" in "".join(t.content for t in flat if t.type == "text")
    cells = [t for t in flat if t.type in ("th_open", "td_open")]
    assert len(cells) == 2 * len([t for t in flat if t.type == "th_open"])
    # GitHub links bare addresses as well.
    assert not re.search(r"(?i)(https?://|www\.)evil", text)


def test_hostile_texts_stay_one_cell_in_csv(board: Board) -> None:
    lines = list(csv.reader(io.StringIO(to_csv(board, hostile(board)))))
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 3


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", ";=1", ";1", "\u200b=1", "\u0301=1",
     "\ufeff;=1"],
)  # fmt: skip
def test_formulas_are_disarmed(text: str) -> None:
    assert as_cell(text).startswith("'")
    assert as_exact_cell(text).startswith("'")


@pytest.mark.parametrize("text", ["a;=1", "a; @SUM(A1)", "a;\t+1", "a|-1"])
def test_formulas_in_the_next_cell_of_another_reader_are_disarmed(text: str) -> None:
    assert not re.search(r"[;|]\s*[=+@-]", as_cell(text))


@pytest.mark.parametrize("text", ["- a", "+ a", "=", "= a", "1. a", "12) a", "---", "-"])
def test_the_start_of_a_text_makes_no_block_of_markdown(text: str) -> None:
    shown = as_markdown(text)
    kinds = [token.type for token in MarkdownIt("commonmark").parse(f"x\n{shown}\n")]
    assert kinds == ["paragraph_open", "inline", "paragraph_close"]
    [item] = [t.content for t in MarkdownIt("commonmark").parse(f"- {shown}\n") if t.content]
    assert item == shown


@given(st.text())
def test_escaped_texts_have_no_markup(text: str) -> None:
    assert not set(as_html(text)) & set("<>\"'")
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`\[\]*_]", as_markdown(text))
    assert not set(as_markdown(text)) & set("<>\n\r")
    assert as_cell(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")
    assert len(clean(text, 20)) <= 20
    clean(text).encode()
    packed = as_json({"text": text})
    assert not set(packed) & set("<>&\u2028\u2029")
    assert json.loads(packed) == {"text": text}


@given(st.text())
def test_links_are_http_or_nothing(text: str) -> None:
    for value in (text, "https://example.org/" + text, "javascript:" + text):
        link = safe_link(value)
        if link is not None:
            assert re.fullmatch(r"https?://[^\s<>\"'`\\()\[\]{}|^]+", link)


@pytest.mark.parametrize("text", [
    "javascript:alert(1)", "data:text/html,x", "//evil.test", "https:", "https://", "ftp://x.test",
    "https://user:pass@x.test", "https://x.test/a b", "https://x.test/\n", "https://[", "",
])  # fmt: skip
def test_other_links_are_refused(text: str) -> None:
    assert safe_link(text) is None


def test_good_links_stay() -> None:
    for link in ("https://arxiv.org/abs/1612.00796", "http://x.test/a?b=c&d=%20#e"):
        assert safe_link(link) == link


def test_index_has_the_first_three_and_no_mean_of_few_boards(
    board: Board, rows: list[EntryRow]
) -> None:
    page = index_html([(board, rows)])
    closed = [row.name for row in rows if row.ranked and row.division == "network"]
    assert all(as_html(name) in page for name in closed[:3])
    assert as_html(closed[3]) not in page
    assert "no mean over them" in page
    Page(page)


def test_page_of_many_entries_is_small(board: Board, rows: list[EntryRow]) -> None:
    many = [
        dataclasses.replace(row, slug=f"{row.slug}-{k}")
        for k in range(18)
        for row in rows
        if row.ranked
    ]
    page = to_html(board, many)
    assert len(many) > 200
    assert len(page.encode()) < 2_000_000
