"""The report: one page that holds every arm, needs nothing else, and lets no text of a run act."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import io
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import clbench
from PIL import Image
from small import copies, go, record_of, run, short_record

from clbench.cli import report as command
from clbench.report import drawing, measures
from clbench.report.page import to_html
from clbench.results.arms import by_arm
from clbench.results.record import Record
from clbench.util import heat

Capture = pytest.CaptureFixture[str]
HOSTILE = "<script>alert(1)</script>\"'&\u202e"
VOID = {"meta", "link", "input", "image", "br"}


class Page(HTMLParser):
    """The tags of a page; every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def of(self, tag: str, name: str) -> list[str | None]:
        return [attrs[name] for t, attrs in self.tags if t == tag and name in attrs]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = []
    for words in ("strategy=naive seed=0", "strategy=naive seed=1", "strategy=joint seed=0"):
        one = run("scenario=class_incremental", *words.split())
        found.append(record_of(one, *go(one)))
    return [*found, short_record("naive")]


def hostile(record: Record) -> Record:
    config = copy.deepcopy(record.config)
    config["strategy"]["name"] = config["data"]["name"] = HOSTILE
    config["strategy"][HOSTILE] = HOSTILE
    names = [HOSTILE] * record.stream["n_classes"]
    about = {"type": HOSTILE, "message": HOSTILE}
    return dataclasses.replace(
        record,
        config=config,
        run_sha256="9" * 64,
        class_names=names,
        warnings=[HOSTILE],
        error=about,
    )


def test_every_arm_is_in_the_table_and_has_its_details(records: list[Record]):
    text = to_html("Runs", records)
    page, arms = Page(text), by_arm(records)
    assert len(arms) == 3
    assert sorted(filter(None, page.of("details", "data-arm"))) == ["a0", "a1", "a2"]
    assert sorted(page.of("details", "id"), key=str)[:1] == ["a0"]
    linked = [href for href in page.of("a", "href") if href != "#table"]
    assert sorted(map(str, linked)) == ["#a0", "#a1", "#a2"]
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])["arms"]
    shown = {(one["scenario"], one["name"]): one["values"] for one in data.values()}
    for arm in arms:
        mean = np.mean([r.metric("world_accuracy") for r in arm.records])
        assert shown[arm.scenario, arm.name]["world_accuracy"] == pytest.approx(mean, rel=1e-6)
        assert shown[arm.scenario, arm.name]["n"] == len(arm.records)


def test_the_page_needs_nothing_from_elsewhere(records: list[Record]):
    page = Page(to_html("Runs", records))
    addresses = [page.of(t, n) for t in ("a", "link", "image", "img") for n in ("href", "src")]
    for address in filter(None, itertools.chain(*addresses)):
        assert address.startswith(("#", "data:")), address
    [policy] = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert page.of("script", "src") == []


def test_the_policy_allows_its_own_script_and_style_only(records: list[Record]):
    text = to_html("Runs", records)
    allowed = re.findall(r"'sha256-([^']+)'", text[: text.index("<style>")])
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    found = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in style + script]
    assert found == allowed
    assert not re.search(
        r"\s(on\w+|style)=", re.sub(r"<(script|style).*?</\1>", "", text, flags=re.S)
    )


@pytest.mark.parametrize("status", ["completed", "error"])
def test_texts_of_runs_do_not_act(records: list[Record], status: str):
    bad = dataclasses.replace(hostile(records[0]), status=status)
    text = to_html(HOSTILE, [*records, bad], [HOSTILE])
    plain, shown = Page(to_html("Runs", records)), Page(text)
    kinds = lambda page: {t for t, _ in page.tags}  # noqa: E731
    assert kinds(shown) - kinds(plain) <= {"ul", "li"}
    assert [t for t, _ in shown.tags].count("script") == 2
    assert "\u202e" not in text
    assert "alert(1)" in text
    assert "<script>alert" not in text


def test_runs_that_did_not_complete_are_named_and_not_averaged(records: list[Record]):
    bad = dataclasses.replace(
        records[1], status="diverged", error={"type": "Diverged", "message": "no numbers"}
    )
    text = to_html("Runs", [records[0], bad, records[2]], ["x.json: is damaged"])
    assert "class_incremental naive seed 1: diverged Diverged: no numbers" in text
    assert "x.json: is damaged" in text
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])["arms"]
    [naive] = [one for one in data.values() if one["name"] == "naive"]
    assert naive["values"]["n"] == 1
    only = to_html("Runs", [bad])
    assert "diverged" in only
    Page(only)


def test_two_hundred_runs_are_read_once_and_fit_into_three_megabytes(
    records: list[Record], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    copies(records, 200, tmp_path / "runs")
    read: list[Path] = []
    load = Record.load.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Record], path: Path) -> Record:
        read.append(path)
        one: Record = load(cls, path)
        return one

    monkeypatch.setattr(Record, "load", classmethod(counted))
    out = tmp_path / "report.html"
    code, told, err = clbench(capsys, "report", tmp_path / "runs", "-o", out)
    assert (code, err) == (0, "")
    assert len(read) == len(set(read)) == 200
    assert told.startswith(f"{out}: 200 runs, ")
    assert out.stat().st_size < 3_000_000
    page = Page(out.read_text(encoding="utf-8"))
    assert len(page.of("details", "data-arm")) == 200


def test_long_streams_take_no_more_room(records: list[Record]):
    """Lines and heat maps have a bounded number of points, whatever the length of the stream."""
    n = 5000
    x, y = drawing.thinned(np.arange(n), np.linspace(0, 1, n))
    assert len(x) == drawing.MOST_POINTS
    assert (x[-1], y.mean()) == (n - 1, pytest.approx(0.5, abs=0.01))
    tasks = measures.picked(n)
    assert len(tasks) == measures.MOST_CELLS
    assert (tasks[0], tasks[-1]) == (0, n - 1)
    assert measures.picked(3).tolist() == [0, 1, 2]


def test_the_matrices_are_those_of_the_record(records: list[Record]):
    own = [records[2]]
    found = measures.task_matrix(own)
    assert found is not None
    np.testing.assert_allclose(found[0], own[0].accuracy_matrix().to_numpy())
    lines = measures.class_lines(own)
    assert lines is not None
    frame = own[0].frame()
    for values, label in zip(lines[0], range(len(lines[1])), strict=True):
        np.testing.assert_allclose(values, frame[f"class_{label}"])
    shares = measures.confusion(own)
    assert shares is not None
    counts = own[0].confusion().to_numpy()
    np.testing.assert_allclose(shares[0] * counts.sum(1, keepdims=True), counts)


def test_a_heat_map_is_a_picture_of_its_values():
    values = np.array([[0.0, 0.5, 1.0], [np.nan, 0.25, 0.75]])
    data = base64.b64decode(heat.address(values).partition(",")[2])
    picture = np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert picture.shape == (2, 3, 3)
    assert picture[0, 0].tolist() == [*heat.STOPS[0]]
    assert picture[0, 2].tolist() == [*heat.STOPS[-1]]
    assert picture[1, 0].tolist() == [*heat.NOTHING]
    light = picture @ np.array([0.3, 0.6, 0.1])
    assert light[0, 0] < light[1, 1] < light[0, 1] < light[1, 2] < light[0, 2]


def test_watching_writes_when_a_record_has_come(
    records: list[Record], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    copies(records[:1], 1, tmp_path / "runs")
    before = command.state(tmp_path / "runs")
    looked = []

    def sleep(seconds: float) -> None:
        looked.append(seconds)
        if len(looked) == 2:
            copies(records[2:3], 1, tmp_path / "runs", first=1)
        if len(looked) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=sleep))
    out = tmp_path / "r.html"
    code, told, _ = clbench(capsys, "report", tmp_path / "runs", "-o", out, "--watch")
    assert code == 130
    assert [line.split(", ")[0] for line in told.splitlines()] == [
        f"{out}: {n} runs" for n in (1, 2)
    ]
    assert command.state(tmp_path / "runs") != before


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("no",), "no such folder"),
        (("runs",), "holds no record.json"),
        (("runs", "-o", "x.pdf"), "html"),
    ],
)
def test_bad_words(
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    hint: str,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    code, out, err = clbench(capsys, "report", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]
