"""Tables: intervals against scipy, one row per arm, names, and text that breaks no format."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from small import go, pool, record_of, run, short_record

from clbench.errors import UsageError
from clbench.results import latex, tables
from clbench.results.record import Record


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Seeds 1 and 0 of naive, seed 0 of joint, seed 0 of naive with another rate."""
    return [
        short_record(seed=1),
        short_record("joint"),
        short_record(),
        short_record("naive", 0, "strategy.lr=0.3"),
    ]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_t_interval_is_that_of_scipy(values: list[float]):
    mean, half, n = tables.t_interval(values)
    assert n == len(values)
    assert mean == pytest.approx(sum(values) / n, abs=1e-9)
    scale = stats.sem(values)
    assert half is not None
    assert mean is not None
    if scale > 1e-9:
        low, high = stats.t.interval(0.95, n - 1, loc=mean, scale=scale)
        assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-6, abs=1e-9)
    else:
        assert half == pytest.approx(0, abs=1e-6)


def test_intervals_of_no_and_of_one_value():
    assert tables.t_interval([]) == (None, None, 0)
    assert tables.t_interval([0.25]) == (0.25, None, 1)


def test_cells():
    column = tables.Column("x", "x %", 100)
    assert tables.cell(column, tables.Interval(0.973, 0.006, 3)) == "97.3 ± 0.6"
    assert tables.cell(column, tables.Interval(0.5, None, 1)) == "50.0"
    assert tables.cell(column, tables.Interval(None, None, 0)) == "–"


def test_columns_of_groups_come_where_there_are_groups(records: list[Record]):
    one = run("scenario=subgroup_shift", "strategy=naive", on=pool(shape=(6, 6)))
    grouped = record_of(one, *go(one))
    for writer in (tables.to_markdown, latex.to_latex):
        plain, both = (writer(tables.summarise(r)) for r in (records, [*records, grouped]))
        assert "worst group" not in plain
        assert "worst group" in both
    [row] = csv.DictReader(io.StringIO(tables.to_csv(tables.summarise([grouped]))))
    assert float(row["worst_group_accuracy"]) == min(
        right / cell["size"]
        for right, cell in zip(grouped.counts["correct"][-1], grouped.counts["cells"], strict=True)
    )


def test_groups_are_told_one_by_one(records: list[Record]):
    """A row for each attribute, a column for each class: means over the seeds."""
    on = pool(n_classes=3, shape=(6, 6))
    words = ("scenario=subgroup_shift", "strategy=naive")
    runs = [run(*words, f"seed={seed}", on=on) for seed in range(2)]
    grouped = [record_of(one, *go(one)) for one in runs]
    assert tables.groups_to_markdown(records) == ""
    title, blank, head, _, *body = tables.groups_to_markdown([*records, *grouped]).splitlines()
    assert (title, blank) == ("naive (n=2)", "")
    assert head.split(" | ")[-1] == "class 2 |"
    shown = [[float(text) for text in line.split("|")[2:-1]] for line in body]
    for number, cell in enumerate(grouped[0].counts["cells"]):
        right = [r.counts["correct"][-1][number] / cell["size"] for r in grouped]
        assert shown[cell["domain"]][cell["label"]] == pytest.approx(50 * sum(right), abs=0.05)


def test_values_are_means_over_the_seeds(records: list[Record]):
    [row] = tables.summarise([records[0], records[2]])
    for column in tables.columns():
        values = [r.metric(column.key) for r in (records[0], records[2])]
        assert row.values[column.key] == tables.t_interval([v for v in values if v is not None])


def test_failed_seeds_are_listed_and_not_averaged(records: list[Record]):
    bad = dataclasses.replace(records[0], status="diverged")
    [row] = tables.summarise([records[2], bad])
    assert (row.seeds, row.failed) == ((0,), ("seed 1: diverged",))
    assert row.values["world_accuracy"].n == 1
    [only] = tables.summarise([bad])
    assert only.values["world_accuracy"] == (None, None, 0)
    stream = io.StringIO()
    tables.print_table([only], stream)
    assert "naive seed 1: diverged" in stream.getvalue()
    assert json.loads(tables.to_json([only]))[0]["failed"] == ["seed 1: diverged"]
    [shown] = csv.DictReader(io.StringIO(tables.to_csv([row])))
    assert shown["failed"] == "seed 1: diverged"


def row(name: str, scenario: str = "scole") -> tables.Row:
    values = {c.key: tables.Interval(0.5, 0.1, 3) for c in tables.columns()}
    return tables.Row(name, scenario, (0, 1, 2), (), values)


def test_markdown_is_escaped():
    lines = tables.to_markdown([row("a|b\\|\nc")]).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith(r"| a\|b\\\| c | 3 |")


def test_latex_is_escaped():
    line = latex.to_latex([row(r"a_b&c%$#{}~^\d")]).splitlines()[7]
    name = line.split(" & ")[0]
    assert name == (r"a\_b\&c\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}d")
    assert r"50.0 $\pm$ 10.0" in line


def test_markup_in_names_is_shown_as_it_is():
    stream = io.StringIO()
    tables.print_table([row("mlp [red]x[/red]")], stream)
    assert "[red]x[/red]" in stream.getvalue()


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@example(";")
@example(" =1+1")
def test_csv_and_json_give_any_name_back(name: str):
    [shown] = csv.DictReader(io.StringIO(tables.to_csv([row(name)])))
    cell = shown["strategy"]
    assert cell in (name, f"'{name}")
    if name.lstrip()[:1] in tuple("=+-@;＝＋－＠"):  # which a spreadsheet would run
        assert cell == f"'{name}"
    if name[:1].isalnum():
        assert cell == name
    assert json.loads(tables.to_json([row(name)]))[0]["strategy"] == name


def test_the_scenario_is_a_column_where_there_are_several():
    head = tables.to_markdown([row("a"), row("a", "class_incremental")]).splitlines()[0]
    assert head.startswith("| scenario | strategy | n |")
    assert tables.to_markdown([row("a")]).startswith("| strategy | n |")


def test_seconds_that_are_unknown_come_with_the_reason(records: list[Record]):
    known = [dataclasses.replace(r, cost={**r.cost, "train_seconds": 1.5}) for r in records]
    none = [dataclasses.replace(r, cost={**r.cost, "train_seconds": None}) for r in records[:1]]
    for rows, is_told in ((tables.summarise(known), False), (tables.summarise(none), True)):
        for text in (
            tables.definitions_to_text(rows),
            tables.definitions_to_markdown(rows),
            latex.to_latex(rows),
        ):
            assert ("– where every experience was counted" in text) is is_told


@given(st.floats(0, 1), st.floats(0, 3))
def test_no_interval_reaches_past_what_is_possible(mean: float, half: float):
    column = tables.named("world_accuracy", "--sort")
    text = tables.cell(column, tables.Interval(mean, half, 2))
    if "±" in text:
        shown, wide = map(float, text.split(" ± "))
        low, high = 100 * (mean - half), 100 * (mean + half)
        assert (shown, wide) == pytest.approx((100 * mean, 100 * half), abs=0.051)
    else:
        low, high = map(float, text.split("[")[1].rstrip("]").split(", "))
        assert 100 * (mean + half) > 100 or mean < half
    assert -0.06 < low <= high < 100.06


def test_differences_may_be_negative_and_costs_may_not():
    forgetting, flops = (tables.named(n, "--sort") for n in ("forgetting", "train_flops"))
    assert tables.cell(forgetting, tables.Interval(0.1, 0.3, 2)) == "10.0 ± 30.0"
    assert tables.cell(forgetting, tables.Interval(0.1, 3.0, 2)) == "10.0 [-100.0, 100.0]"
    assert tables.cell(flops, tables.Interval(1e9, 2e9, 2)) == "1.00 [0.00, 3.00]"


def of(name: str, accuracy: float | None, seconds: float = 1.0, seeds: int = 3) -> tables.Row:
    values = {c.key: tables.Interval(None, None, 0) for c in tables.columns()}
    values["world_accuracy"] = tables.Interval(accuracy, None, seeds)
    values["forgetting"] = tables.Interval(accuracy, None, seeds)
    values["train_seconds"] = tables.Interval(seconds, None, seeds)
    return tables.Row(name, "scole", tuple(range(seeds)), (), values)


def test_the_best_of_each_scenario_is_bold_and_sorted_first():
    rows = [of("a", 0.5, 2.0), of("b", 0.9), of("c", None), of("d", 0.90001, 3.0)]
    rows += [dataclasses.replace(of("e", 0.1), scenario="other")]
    shown = tables.chosen("world_accuracy, FM %,train_seconds")
    assert [c.key for c in shown] == ["world_accuracy", "forgetting", "train_seconds"]
    assert tables.best(rows, shown) == {
        (1, "world_accuracy"),
        (3, "world_accuracy"),
        (0, "forgetting"),
    }, "seconds rank nothing, alone is not best, and equal as shown is equal"
    text = tables.to_markdown(rows, shown, bold=True)
    assert text.count("**90.0**") == 2
    assert "**" not in tables.to_markdown(rows, shown)
    assert r"\textbf{90.0}" in latex.to_latex(rows, shown)
    assert [r.name for r in tables.ordered(rows, "world_accuracy")] == ["d", "b", "a", "c", "e"]
    assert [r.name for r in tables.ordered(rows, "FM")] == ["a", "b", "d", "c", "e"]
    assert [r.name for r in tables.ordered(rows[::-1], "strategy")] == ["e", "a", "b", "c", "d"]


@pytest.mark.parametrize("name", ["acc", "world_acuracy", ""])
def test_a_column_that_is_none_is_refused(name: str):
    with pytest.raises(UsageError, match=f"--columns {name}: no such column"):
        tables.chosen(f"forgetting,{name}")


def test_two_seeds_are_offered_more():
    for seeds, told in ((2, True), (3, False), (1, False)):
        rows = [of("a", 0.5, seeds=seeds)]
        assert ("more: seed=0..4" in tables.definitions_to_text(rows)) is told
    assert "n = 3 seeds" in latex.to_latex([of("a", 0.5)])
