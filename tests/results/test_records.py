"""A sweep as an object: its frame, its figures, the best of it, and its parts."""

from __future__ import annotations

import dataclasses
import math
from html.parser import HTMLParser

import pytest
from small import short_record

from clbench.errors import UsageError
from clbench.results import panels
from clbench.results.records import Records
from clbench.results.tables import columns


@pytest.fixture(scope="module")
def records() -> Records:
    made = [("naive", 0), ("naive", 1), ("joint", 0), ("naive", 0, "strategy.lr=0.3")]
    return Records(short_record(*words) for words in made)  # type: ignore[arg-type]


def test_it_is_a_list_that_says_what_it_holds(records: Records):
    assert isinstance(records, list)
    assert repr(records) == "<4 records of 3 arms in 1 scenario, 4 completed>"
    assert repr(Records(records[:1])) == "<1 record of 1 arm in 1 scenario, 1 completed>"
    assert repr(Records()) == "<0 records of 0 arms in 0 scenarios, 0 completed>"


def test_the_frame_has_a_row_for_each_run(records: Records):
    frame = records.frame()
    assert frame["strategy"].tolist() == ["naive", "naive", "joint", "naive"]
    assert frame["seed"].tolist() == [0, 1, 0, 0]
    assert frame["strategy.lr"].tolist()[-1] == 0.3
    assert "strategy.momentum" not in frame, "all have the same"
    for column in columns():
        for shown, record in zip(frame[column.key], records, strict=True):
            value = record.metric(column.key)
            assert shown == value if value is not None else math.isnan(shown)
    assert Records().frame().empty


def test_the_best_arm(records: Records):
    means = {}
    for name, own in (("joint", records[2:3]), ("naive", records[:2]), ("fast", records[3:])):
        means[name] = sum(r.metric("world_accuracy") or 0 for r in own) / len(own)
    best = records.best()
    assert isinstance(best, Records)
    assert sum(r.metric("world_accuracy") or 0 for r in best) / len(best) == max(means.values())
    cheap = records.best("train_flops")
    assert {r.metric("train_flops") for r in cheap} <= {
        min(r.metric("train_flops") or 0 for r in records),
        *(r.metric("train_flops") for r in records[:2]),
    }
    with pytest.raises(UsageError, match=r"best: world_acuracy: .*did you mean 'world_accuracy'"):
        records.best("world_acuracy")
    with pytest.raises(UsageError, match="no completed run has a value"):
        records.best("online_accuracy")


def test_parts_by_a_setting(records: Records):
    assert {k: len(v) for k, v in records.by("strategy").items()} == {"naive": 3, "joint": 1}
    assert {k: len(v) for k, v in records.by("seed").items()} == {0: 3, 1: 1}
    assert {k: len(v) for k, v in records.by("strategy.lr").items()} == {None: 3, 0.3: 1}
    assert sum(len(v) for v in records.by("model.hidden").values()) == 4
    with pytest.raises(UsageError, match=r"did you mean 'strategy\.lr'"):
        records.by("strategi.lr")


@pytest.mark.parametrize("kind", panels.KINDS)
def test_every_kind_of_figure(records: Records, kind: str):
    assert any(axes.has_data() for axes in records.plot(kind).axes)


def test_another_kind_is_refused(records: Records):
    with pytest.raises(UsageError, match="did you mean 'matrix'"):
        records.plot("matrx")


def test_the_table_of_a_notebook_is_html(records: Records):
    class Cells(HTMLParser):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.rows = 0
            self.tags: list[str] = []
            self.feed(text)

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.tags.append(tag)

    import copy
    import dataclasses

    config = copy.deepcopy(records[0].config)
    config["strategy"]["name"] = "<script>"
    bad = dataclasses.replace(records[0], config=config, run_sha256="7" * 64)
    found = Cells(Records([*records, bad])._repr_html_())
    assert found.tags.count("tr") == 1 + 4
    assert "script" not in found.tags
    assert "b" in found.tags


def test_a_notebook_shows_a_figure_as_a_picture(records: Records):
    """IPython asks for this method; a figure without pyplot has no other way to be seen."""
    assert records.plot("curves")._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_a_record_says_in_a_line_what_it_is(records: Records):
    one = records[0]
    said = repr(one)
    assert said.startswith(f"<record of {one.config['scenario']['name']} ")
    assert f"seed {one.seed}: completed, world accuracy {one.metric('world_accuracy'):.1%}>" in said
    failed = dataclasses.replace(one, status="diverged", error={"type": "E", "message": "why"})
    assert "diverged, E: why" in repr(failed)
