"""Orders from settings: named, listed, in files, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clbench.configure.config import resolve_point
from clbench.errors import UsageError
from clbench.orders import order_of, read_order

LITERATURE = """
68 56 78 8 23 84 90 65 74 76 40 89 3 92 55 9 26 80 43 38 58 70 77 1 85 19 17 50 28 53 13 81 45 82 6 59
83 16 15 44 91 41 72 60 79 52 20 10 31 54 37 95 14 71 96 98 97 2 64 66 42 22 35 86 24 34 87 21 99 0 88
27 18 94 11 12 47 25 30 46 62 69 36 61 7 63 75 5 32 4 51 48 73 93 39 67 29 49 57 33
"""
"""CIFAR-100's order as printed in PyCIL's issue 50 and in Continuum's issue 288."""


def order(*words: str, n: int, seed: int = 0) -> tuple[int, ...]:
    return order_of(read_order(words, "s.order"), n, seed, "s.order", f"there are {n}")


def test_1993_is_the_order_of_the_literature():
    assert order("1993", n=100) == tuple(map(int, LITERATURE.split()))


@pytest.mark.parametrize("n", [1, 10, 200, 1000])
def test_1993_is_the_same_construction_for_other_counts(n: int):
    wanted = np.random.RandomState(1993).permutation(n)
    assert order("1993", n=n, seed=5) == tuple(wanted.tolist())


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(12)), st.sampled_from(["\n", ", ", " ", "\t"]))
def test_a_list_and_a_file_are_one_order(tmp_path_factory, numbers: list[int], between: str):
    words = tuple(map(str, numbers))
    file = tmp_path_factory.mktemp("order") / "order.txt"
    file.write_text(f"[{between.join(words)}]\n")
    assert read_order((str(file),), "s.order") == read_order(words, "s.order") == words
    assert order(*words, n=12) == tuple(numbers)


def test_named_orders():
    assert order("data", n=4) == (0, 1, 2, 3)
    rng = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(0,)))
    assert order("seed", n=9, seed=7) == tuple(rng.permutation(9).tolist())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("1", "2", "1"), "1 comes twice"),
        (("0", "2"), "2 is not one"),
        (("0", "-1"), "-1 is not one"),
        (("2024",), "is no order"),
        ((), "is no order"),
        (("a", "b"), "'a' is no number"),
        (("nowhere.txt",), "there is no such file"),
        (("9" * 30, "0"), "is no number"),
    ],
)
def test_what_is_no_order_is_refused_in_one_line(words: tuple[str, ...], told: str):
    with pytest.raises(UsageError, match=told) as error:
        order(*words, n=3)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("s.order")


def test_an_order_of_another_length_is_refused():
    with pytest.raises(UsageError, match=r"s\.order orders 3; there are 4"):
        order("2", "1", "0", n=4)


def test_a_file_with_other_text_is_refused(tmp_path: Path):
    (tmp_path / "o.txt").write_text("0 1 x")
    with pytest.raises(UsageError, match=r"s\.order=o\.txt: 'x' is no number"):
        read_order((str(tmp_path / "o.txt"),), "s.order")
    with pytest.raises(UsageError, match="ordinary file"):
        read_order((str(tmp_path),), "s.order")


def test_a_number_from_python_or_a_file_of_settings_is_a_word():
    for value in (1993, "1993", [1993]):
        point = {"scenario": "class_incremental", "strategy": "naive", "model": "mlp"}
        config = resolve_point({**point, "scenario.class_order": value})
        assert config.scenario.class_order == ("1993",)
    assert config.identity()["scenario"]["class_order"] == ["1993"]


def test_the_settings_of_a_run_hold_the_order_and_not_its_file(tmp_path: Path):
    file = tmp_path / "order.txt"
    file.write_text("1 0 2")
    point = {"scenario": "class_incremental", "strategy": "naive", "model": "mlp"}
    config = resolve_point({**point, "scenario.class_order": str(file)})
    assert config.as_dict()["scenario"]["class_order"] == ["1", "0", "2"]
    listed = resolve_point({**point, "scenario.class_order": [1, 0, 2]})
    assert config.identity() == listed.identity()
