"""Class names: in the record, in tables and in plots; a run's identity does not know them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small import CPU, arrays, pool, run, short_record

from clbench.data.pool import Arrays, TensorPool
from clbench.data.sets.fashion_mnist import FashionMnist
from clbench.data.sets.joined import Joined
from clbench.engine.execute import Options, execute
from clbench.errors import ClbenchError, UsageError
from clbench.results import classes, plots
from clbench.results.record import Record
from clbench.results.record_schema import faults
from clbench.results.tables import groups_to_markdown

NAMES = ("ape", "bee | wasp", "$c$", "dog")


@pytest.fixture
def named() -> TensorPool:
    return TensorPool(dataclasses.replace(arrays(), class_names=NAMES), CPU)


def recorded(named: TensorPool, out: Path, *words: str) -> Record:
    one = run("strategy=naive", *words, on=named)
    record, _ = execute(one, Options(out=out, quiet=True, curve=False))
    return record


def test_a_record_names_the_streams_classes(named: TensorPool, tmp_path: Path):
    words = ("scenario=scole", "scenario.n_tasks=2", "scenario.n_classes=2", "seed=3")
    one = run("strategy=naive", *words, on=named)
    record = recorded(named, tmp_path, *words)
    assert record.class_names == [NAMES[label] for label in one.stream.labels]
    [path] = tmp_path.rglob("record.json")
    assert Record.load(path).class_names == record.class_names
    assert faults(record.to_dict()) == []


def test_names_are_no_part_of_a_runs_identity(named: TensorPool):
    words = ("strategy=naive", "scenario=class_incremental")
    assert named.sha256 == pool().sha256
    assert run(*words, on=named).run_sha256 == run(*words).run_sha256


def test_records_without_names_stay_valid(tmp_path: Path):
    plain = short_record().to_dict()
    assert "class_names" not in plain
    assert faults(plain) == []
    assert Record.parse(plain, tmp_path).class_names is None
    wrong = ["a"] * (plain["stream"]["n_classes"] + 1)
    for bad in (wrong, [1] * plain["stream"]["n_classes"], "abcd"[: plain["stream"]["n_classes"]]):
        assert faults({**plain, "class_names": bad})
    for bad in (wrong, [1] * plain["stream"]["n_classes"]):
        with pytest.raises(ClbenchError):
            Record.parse({**plain, "class_names": bad}, tmp_path)


def test_names_that_cannot_be_shown_are_shortened():
    assert classes.kept_names((), (0, 1)) is None
    kept = classes.kept_names(("a\nb", "x" * 300, "\x1b[2J", ""), (3, 0, 1, 2))
    assert kept == ["", "a b", "x" * 100, "[2J"]


def test_tables_and_plots_have_the_names(named: TensorPool, tmp_path: Path):
    record = recorded(named, tmp_path, "scenario=class_incremental")
    table = classes.to_markdown([record])
    assert [line.split(" | ")[0] for line in table.splitlines()[4:]] == [
        "| ape",
        r"| bee \| wasp",
        r"| \$c\$",
        "| dog",
    ]
    known, sizes, accuracy = classes.final(record)
    assert (known, sizes.tolist()) == ([0, 1, 2, 3], [5, 5, 5, 5])
    assert np.average(accuracy, weights=sizes) == pytest.approx(record.metric("world_accuracy"))
    figure = plots.overview([record])
    [axes] = [axes for axes in figure.axes if axes.get_xlabel() == "class"]
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["ape", "bee | wasp", r"\$c\$", "dog"]
    plots.save_curve([record], tmp_path / "curve.png")
    assert "class" not in [axes.get_xlabel() for axes in plots.overview([short_record()]).axes]


def test_classes_without_names_are_numbered():
    assert "| class 0 | 5 |" in classes.to_markdown([short_record()])


def test_groups_are_under_the_classes_names(tmp_path: Path):
    images = arrays(shape=(6, 6))
    on = TensorPool(dataclasses.replace(images, class_names=NAMES), CPU)
    record = recorded(on, tmp_path, "scenario=subgroup_shift", "scenario.n_tasks=3")
    assert "| attribute | ape | bee \\| wasp |" in groups_to_markdown([record])


def test_what_has_no_place_for_names_is_refused():
    with pytest.raises(UsageError, match="3 class names for 4 classes"):
        dataclasses.replace(arrays(), class_names=("a", "b", "c"))


@pytest.mark.parametrize("n_classes", [10**5 + 1, 2 * 10**9])
def test_identifiers_are_no_labels(n_classes: int):
    with pytest.raises(UsageError, match="number the labels"):
        dataclasses.replace(arrays(), n_classes=n_classes)


def test_joined_data_have_names_if_any_part_has_none(monkeypatch: pytest.MonkeyPatch):
    first = dataclasses.replace(arrays(), class_names=NAMES)
    parts = {"digits": first, "mnist5k": arrays(n_classes=2)}

    class Found:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> object:
            return lambda: self

        def with_defaults(self) -> object:
            return self

        def arrays(self) -> Arrays:
            return parts[self.name]

    monkeypatch.setattr("clbench.data.sets.joined.find", lambda group, name: Found(name))
    joined = Joined(parts=("digits", "mnist5k")).arrays()
    assert joined.class_names == (*NAMES, "mnist5k 0", "mnist5k 1")
    assert len(FashionMnist.class_names) == 10
