"""The published numbers that come with clbench, and what a file of them must hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clbench.configure.config import resolve_point
from clbench.data.sets.all_pairs import AllPairs
from clbench.errors import UsageError
from clbench.reproduce import shelf as shelves
from clbench.reproduce.page import page
from clbench.reproduce.plan import lacking, plan
from clbench.results import metrics

ROOT = Path(__file__).parents[2]
BUILTIN = shelves.builtin()
NAMES = shelves.names(BUILTIN)


def test_the_papers_of_the_field_are_there():
    assert {name.partition("-")[0] for name in NAMES} >= {
        "hsu2018",
        "vandeven2019",
        "vandeven2022",
        "vandeven2025",
        "gdumb2020",
        "avalanche",
        "scole2023",
    }


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_words_of_every_row_resolve(name: str, small: bool):
    of = shelves.find(name, BUILTIN)
    assert of.form.metric in metrics.table()
    if small and of.form.small is None:
        with pytest.raises(UsageError, match="no small form"):
            plan(of, small=True)
        return
    rows = plan(of, small=small)
    assert len(rows) == sum(not row.missing for row in of.form.rows)
    for planned in rows:
        points = planned.points()
        assert len(points) == planned.seeds
        config = resolve_point(points[-1])
        assert config.common.seed == planned.seeds - 1
        if small:
            assert config.plugins["data"].name == (
                "all_pairs" if name == "all-pairs" else "mnist5k"
            )


@pytest.mark.parametrize("name", NAMES)
def test_a_small_form_is_small(name: str):
    of = shelves.find(name, BUILTIN)
    assert of.form.small is None or of.form.small.seeds <= 2


def test_the_page_is_written_from_the_files():
    """After a change: clbench reproduce --write."""
    every = [shelves.find(name, BUILTIN) for name in NAMES]
    fresh = page(every, BUILTIN / "results")
    assert (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8") == fresh


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("tolerance: 100", "tolerance: wide", "tolerance must be a number"),
        ("mean: 50.0", "mean: 101.0", "rows[0].published.mean must be at most 100"),
        ("name: far", "name: naive", "two rows are named naive"),
        ("over: naive", "over: joint", "row half is over joint, which is no row"),
        ("over: naive", "over: half", "row half is over half, which is a ratio itself"),
        ("    missing: no strategy icarl\n", "", "row icarl has neither words nor what is missing"),
        ("    published: {mean: 99.0}\n", "", "row half publishes nothing, and no row is over it"),
        ("strategy=naive]", "strategy]", "rows[0].words[0] is malformed"),
        ("url: https:", "url: ftp:", "source.url is malformed"),
        ("title: Blobs\n", "", "title is missing"),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(
    shelf: Callable[..., Path], before: str, after: str, told: str
):
    root = shelf((before, after)) / "reproductions"
    with pytest.raises(UsageError) as caught:
        shelves.find("blobs", root)
    assert told in str(caught.value)
    assert "blobs.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_told_the_nearest(shelf: Callable[..., Path]):
    root = shelf() / "reproductions"
    with pytest.raises(UsageError, match="did you mean 'blobs'"):
        shelves.find("blob", root)
    of = shelves.find("blobs", root)
    with pytest.raises(UsageError, match="did you mean 'naive'"):
        plan(of, ["naiv"])
    with pytest.raises(UsageError, match="no strategy icarl"):
        plan(of, ["icarl"])


def test_a_row_brings_the_row_that_it_is_over(shelf: Callable[..., Path]):
    of = shelves.find("blobs", shelf() / "reproductions")
    assert [planned.row.name for planned in plan(of, ["half"])] == ["naive", "half"]
    assert [planned.row.name for planned in plan(of)] == ["naive", "far", "half"]


def test_words_that_sweep_are_refused(shelf: Callable[..., Path]):
    root = shelf(("strategy.lr=0.05", "'strategy.lr=0.05,0.1'")) / "reproductions"
    with pytest.raises(UsageError, match="row far: its words ask for several runs"):
        plan(shelves.find("blobs", root))[1].points()


def test_a_list_draws_no_data(monkeypatch: pytest.MonkeyPatch):
    """Rows may ask for millions of images that are drawn; whether they lack something is not seen by it."""

    def drawn(*given: object) -> None:
        raise AssertionError("a list drew the data")

    monkeypatch.setattr(AllPairs, "arrays", drawn)
    monkeypatch.setattr(AllPairs, "pool", drawn)
    assert lacking(shelves.find("all-pairs", BUILTIN)) == []
