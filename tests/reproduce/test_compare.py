"""Running published numbers: what is run, compared, kept and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import clbench
from hypothesis import given
from hypothesis import strategies as st

from clbench.errors import UsageError
from clbench.reproduce import shelf as shelves
from clbench.reproduce.compare import Measured, compare, current, keep, load, results_path
from clbench.results.record import Record

Shelf = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


def rows(out: str) -> dict[str, dict[str, object]]:
    return {row["row"]: row for row in json.loads(out)["blobs"]}


def test_ours_stands_beside_theirs(shelf: Shelf, capsys: Capture):
    ran = clbench(capsys, "reproduce", "blobs", "--json", "-q")
    assert ran.code == 0
    found = rows(ran.out)
    records = [Record.load(path) for path in Path("runs").rglob("record.json")]
    assert len(records) == 4  # half looks at the runs of naive
    naive = [r for r in records if r.config["strategy"]["lr"] is None]
    values = [100 * r.metrics["average_accuracy"]["value"] for r in naive]
    assert found["naive"]["ours"] == pytest.approx(sum(values) / 2, abs=1e-3)
    assert found["naive"]["difference"] == pytest.approx(sum(values) / 2 - 50, abs=1e-3)
    assert found["naive"]["network"] == "mlp hidden=[8] head=linear"
    assert [found[name]["verdict"] for name in ("naive", "far", "icarl")] == [
        "inside",
        "miss",
        "no strategy icarl",
    ]
    first = [r.to_counts().world_accuracy[r.to_counts().evaluated_after == 1][0] for r in naive]
    ratios = [100 * 100 * float(a) / b for a, b in zip(first, values, strict=True)]
    assert found["half"]["ours"] == pytest.approx(sum(ratios) / 2, abs=1e-2)


def test_finished_runs_are_not_repeated(shelf: Shelf, capsys: Capture):
    first = clbench(capsys, "reproduce", "blobs", "--only", "naive")
    assert first.out.count("naive") == 1
    assert "50.00 ± 1.00 (n=3)" in first.out
    assert "deviates: Everything." in first.out
    again = clbench(capsys, "reproduce", "blobs", "--only", "naive")
    assert again.err.count("already done") == 2
    assert again.out == first.out


def test_in_small_nothing_is_comparable(shelf: Shelf, capsys: Capture):
    ran = clbench(capsys, "reproduce", "blobs", "--small", "--json", "-q", "--only", "far")
    assert ran.code == 0
    found = rows(ran.out)
    assert found["far"]["verdict"] == "small: not comparable"
    assert found["far"]["seeds"] == 1
    assert found["naive"]["verdict"] == "not run"
    [record] = [Record.load(path) for path in Path("runs").rglob("record.json")]
    assert record.config["strategy"]["epochs"] == 2


def test_a_run_that_fails_says_so_and_gives_1(shelf: Shelf, capsys: Capture):
    shelf(("strategy.lr=0.05", "strategy.lr=1e30, strategy.clip_norm=null"))
    ran = clbench(capsys, "reproduce", "blobs", "--only", "far", "--json", "-q")
    assert ran.code == 1
    assert rows(ran.out)["far"]["verdict"] == "failed"
    assert rows(ran.out)["far"]["failed"] == ["seed 0: diverged", "seed 1: diverged"]


def test_the_list_says_what_each_needs(shelf: Shelf, capsys: Capture):
    ran = clbench(capsys, "reproduce")
    assert ran.code == 0
    assert "blobs: Blobs" in ran.out
    assert "3 of 4 rows can be run, about 0.1 hours; data found; needs nothing" in ran.out
    shelf((".npz", ".gone.npz"))
    [row] = json.loads(clbench(capsys, "reproduce", "--json").out)
    assert [row["lacking"]] != [[]]
    assert "data missing" in clbench(capsys, "reproduce").out
    assert clbench(capsys, "reproduce", "blobs").code == 2


def test_the_page_holds_misses_and_small_runs(shelf: Shelf, capsys: Capture):
    assert clbench(capsys, "reproduce", "blobs", "-q").code == 0
    assert clbench(capsys, "reproduce", "blobs", "--small", "-q", "--only", "naive").code == 0
    assert clbench(capsys, "reproduce", "--write").code == 0
    text = Path("docs/reproductions.md").read_text()
    assert "| `--only far` | 0.00 | figure |" in text
    assert "| miss |" in text
    [line] = [x for x in text.splitlines() if x.startswith("In small (`strategy.epochs=2`; not")]
    assert "comparable): naive" in line
    assert line.endswith(" Two passes are few.")
    assert {path.name for path in Path("reproductions/results").iterdir()} == {
        "blobs.json",
        "blobs.small.json",
    }
    shelf(("strategy.lr=0.05", "strategy.lr=0.04"))  # the row is another one now
    assert clbench(capsys, "reproduce", "--write").code == 0
    [line] = [x for x in Path("docs/reproductions.md").read_text().splitlines() if "only far" in x]
    assert "not run" in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nothing",), "unknown reproduction"),
        (("--only", "naive"), "--only ROW goes with one NAME"),
        (("blobs", "--jobs", "0"), "--jobs 0"),
    ],
)
def test_wrong_words_are_one_line(shelf: Shelf, capsys: Capture, words: tuple[str, ...], told: str):
    ran = clbench(capsys, "reproduce", *words)
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_write_needs_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture):
    monkeypatch.chdir(tmp_path)
    ran = clbench(capsys, "reproduce", "--write")
    assert ran.code == 2
    assert "of a checkout" in ran.err


@given(
    st.dictionaries(st.integers(0, 99), st.floats(0, 100), min_size=1, max_size=5),
    st.floats(0, 100),
)
def test_a_row_is_inside_iff_the_means_differ_by_no_more_than_its_tolerance(
    values: dict[int, float], mean: float
):
    from clbench.reproduce.form import ReproductionForm

    form = ReproductionForm.model_validate(
        {
            "title": "t",
            "source": {"paper": "p", "where": "w", "url": "https://x.org"},
            "protocol": "p",
            "words": [],
            "seeds": 1,
            "tolerance": 5.0,
            "needs": {"data": "d", "hours": 1.0},
            "rows": [{"name": "r", "words": ["a=b"], "published": {"mean": mean}}],
        }
    )
    of = shelves.Reproduction("x", form)
    [row] = compare(of, [Measured("r", ["a=b"], values=values)], small=False)
    ours = sum(values.values()) / len(values)
    assert row.ours == pytest.approx(ours)
    assert row.difference is not None
    assert row.verdict == ("inside" if abs(row.difference) <= 5 else "miss")
    [small] = compare(of, [Measured("r", ["a=b"], values=values)], small=True)
    assert small.verdict == "small: not comparable"
    assert current(of, [Measured("r", ["a=c"]), Measured("gone", [])], False) == []


def test_results_of_other_rows_stay(tmp_path: Path):
    keep(tmp_path, "x", False, [Measured("a", ["k=1"], values={0: 1.0, 10: 2.0})])
    path = keep(tmp_path, "x", False, [Measured("b", ["k=2"], failed=["seed 0: diverged"])])
    assert path == results_path(tmp_path, "x", False)
    a, b = load(path)
    assert (a.values, b.failed) == ({0: 1.0, 10: 2.0}, ["seed 0: diverged"])
    path.write_text('[{"row": 3}]')
    with pytest.raises(UsageError, match="holds no results"):
        load(path)
