"""Forms of files: nothing is converted, every fault is a printable line that names its place."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from annotated_types import MaxLen
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from clbench.util.schema import (
    LARGEST,
    Count,
    Counts,
    Form,
    Plain,
    Seconds,
    Settings,
    Sha256,
    Text,
    Time,
    faults,
    place,
)


class Inner(Form):
    """A part."""

    size: Count


class Outer(Form):
    """All kinds of fields."""

    count: Count = 0
    seconds: Seconds | None = None
    flag: bool = False
    text: Annotated[str, Text(5)] = ""
    word: Annotated[str, Text(9, r"[a-z]+")] = "a"
    sha: Sha256 = ""
    time: Time = ""
    many: Counts = Field(default=[])
    parts: Annotated[list[Inner], MaxLen(3)] = Field(default=[])
    plain: Plain = None
    settings: Settings = Field(default={})


def said(**values: Any) -> list[str]:
    return faults(Outer, values)


GOOD: dict[str, tuple[Any, ...]] = {
    "count": (0, 1, LARGEST),
    "seconds": (None, 0, 0.5, 1e9),
    "flag": (True, False),
    "text": ("", "ab cd", "äöü"),
    "word": ("a", "zz"),
    "sha": ("0" * 64,),
    "time": ("2026-01-31T23:59:59Z",),
    "many": ([], [0, LARGEST]),
    "parts": ([], [{"size": 1}]),
    "plain": (None, True, 1, 0.5, "x", [1, [2, "a"]], {"a": {"b": [None]}}, [], {}),
    "settings": ({}, {"lr": 0.1, "model": {"name": "mlp"}}),
}
BAD: dict[str, tuple[Any, ...]] = {
    "count": (-1, LARGEST + 1, 1.0, True, "1", None, [1], 10**30),
    "seconds": (-0.5, 1e10, float("nan"), float("inf"), "1", True, 10**400),
    "flag": (0, 1, None, "true"),
    "text": ("abcdef", "a\n", "\x1b", "\u202e", "\ud800", b"a", 1, None),
    "word": ("", "A", "a1", "a\n", "1a", "a" * 10),
    "sha": ("0" * 63, "0" * 65, "G" * 64, "0" * 64 + "\n"),
    "time": ("2026-02-30T00:00:00Z", "2026-01-31", "yesterday", 5),
    "many": ([1.5], [True], ["1"], [-1], [10**19], [[1]], (1,), 1, None),
    "parts": ([{}], [{"size": 1, "x": 1}], [1], [{"size": 1}] * 4, {"size": 1}),
    "plain": ((1,), {1: 2}, {"a b": 1}, float("nan"), "\x1b", "x" * 1001, [object()], [1] * 1001),
    "settings": ([], {"": 1}, {".a": 1}, {"a": "\x00"}, {str(n): n for n in range(65)}),
}


@pytest.mark.parametrize("field", Outer.model_fields)
def test_what_a_field_takes(field: str) -> None:
    for value in GOOD[field]:
        assert said(**{field: value}) == [], value
    for value in BAD[field]:
        told = said(**{field: value})
        assert told, value
        assert all(line.isprintable() and len(line) < 200 for line in told)
        assert all(field in line for line in told)


def test_faults_name_the_place_and_the_value() -> None:
    assert said(count=-1) == ["count must be at least 0, and is -1"]
    assert said(seconds=1e10) == ["seconds must be at most 1e+09, and is 10000000000.0"]
    assert said(parts=[{"size": 1}, {"size": "x"}]) == ["parts[1].size must be a whole number"]
    assert said(parts=[{}]) == ["parts[0].size is missing"]
    assert said(plain={"a": [1, {"b": "\x00"}]}) == [
        "plain.a[1].b holds characters that cannot be shown"
    ]
    assert said(settings={"a b": 1}) == ["a key of settings is malformed: 'a b'"]
    assert said(colour=1) == ["colour is unknown"]
    assert faults(Outer, []) == ["the file must be a mapping"]
    assert said(time="never") == ["time must be a time such as 2026-01-31T23:59:59Z"]
    assert place(("a", 0, "b")) == "a[0].b"
    assert place(()) == "the file"


def test_a_value_is_cut_and_made_printable() -> None:
    [line] = said(word="x\x1b[2J" + "y" * 3)
    assert line == r"word is malformed: 'x\x1b[2Jyyy'"
    [line] = said(**{"evil\n\u202e" + "x" * 5000: 1})
    assert line.isprintable()
    assert len(line) < 80


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(Outer.model_fields)) | st.text(), JSON))
def test_any_data_gets_printable_lines(data: dict[str, Any]) -> None:
    told = faults(Outer, data)
    assert all(line.isprintable() and len(line) < 300 for line in told)
    assert told == faults(Outer, data)


def test_a_long_list_of_wrong_numbers_is_one_fault() -> None:
    assert said(many=["x"] * 10**6) == ["many[0] must be a whole number"]
