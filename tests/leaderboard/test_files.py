"""Files of strangers: whatever is in them, either plain data within all limits or one line."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clbench.util import yaml_files
from clbench.util.files import MAX_BYTES, MAX_INTEGER, FileError, read_json, read_yaml

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER + 1, MAX_INTEGER - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
KEYS = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=5)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def depth(data: Any) -> int:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(data, dict | list) else 0


@settings(max_examples=200, derandomize=True, deadline=None)
@given(data=PLAIN)
def test_plain_json_comes_back_as_it_was(data: Any, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.json"
    path.write_text(json.dumps(data))
    if depth(data) <= 8:
        assert read_json(path) == data
    else:
        with pytest.raises(FileError):
            read_json(path)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(data=st.dictionaries(KEYS, PLAIN, max_size=3))
def test_plain_yaml_comes_back_as_it_was(data: dict[str, Any], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.yaml"
    text = yaml_files.dump(data)
    path.write_text(text)
    if depth(data) <= 7 and "&id" not in text:
        assert read_yaml(path) == data


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    data=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_bytes_are_data_or_one_line(data: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    for read in (read_json, read_yaml):
        try:
            json.dumps(read(path), allow_nan=False)
        except FileError as error:
            said = str(error)
        else:
            continue
        assert said.startswith(f"{path}: ")


REFUSED_JSON = {
    "twice": ('{"a": 1, "a": 2}', "given twice"),
    "nan": ("[NaN]", "NaN is not a number"),
    "infinity": ("[-Infinity]", "not a number"),
    "overflow": ("[1e999]", "too large or not finite"),
    "overflow beside whole numbers": ("[1, 1e999]", "too large or not finite"),
    "overflow in rows": ("[[1, 2], [3, 1e999]]", "too large or not finite"),
    "large": ("[9223372036854775808]", "too large or not finite"),
    "small": ('{"a": -9223372036854775808}', "too large or not finite"),
    "thousands of digits": ("9" * 5000, "not strict JSON"),
    "deep": ("[" * 9 + "[{}]" + "]" * 9, "nested deeper"),
    "deepest": ("[" * 500_000, "nested deeper"),
    "deepest of objects": ('{"a":' * 150_000, "nested deeper"),
    "long text": (json.dumps("x" * 4097), "4097 characters"),
    "long key": (json.dumps({"x" * 4097: 1}), "4097 characters"),
    "half a character": (r'"\ud83d"', "surrogate"),
    "half a character as key": (r'{"\ud83d": 1}', "surrogate"),
    "nothing": ("", "not strict JSON"),
    "too much": ("[1] 2", "not strict JSON"),
    "large file": (" " * MAX_BYTES + "1", "larger than 1024 KiB"),
}
REFUSED_YAML = {
    "twice": ("a: 1\na: 2", "given twice"),
    "twice below": ("a: {b: 1, b: 2}", "given twice"),
    "alias": ("a: &x [1]\nb: *x", "aliases"),
    "merge": ("a: {b: 1}\n<<: {c: 2}", "not plain YAML"),
    "tag": ("a: !!python/object/apply:os.system [ls]", "tags"),
    "tag of binary": ("a: !!binary aGk=", "tags"),
    "own tag": ("a: !x 1", "tags"),
    "date": ("a: 2026-01-01", "in quotes"),
    "no date": ("a: 2026-13-45", "not plain YAML"),
    "nan": ("a: [1.0, .nan]", "not finite"),
    "nan first": ("a: [.nan, 1.0]", "not finite"),
    "nan beside whole numbers": ("a: [1, .nan]", "not finite"),
    "infinity": ("a: -.inf", "not finite"),
    "sexagesimal, which is text": ("a: 1" + ":59" * 5000, "15001 characters"),
    "number for key": ("1: a", "in quotes"),
    "number for key below": ("a: {1: b}", "in quotes"),
    "list for key": ("? [1]\n: 2", "not plain YAML"),
    "deep": ("a: " + "[" * 16_000, "nested deeper"),
    "deep keys": ("? " * 16_000, "nested deeper"),
    "large file": ("# " + "x" * (1 << 15), "larger than 32 KiB"),
    "a list": ("- a", "key: value"),
    "nothing": ("", "key: value"),
    "two documents": ("a: 1\n---\nb: 2", "not plain YAML"),
    "control character": ("a: \x1b", "not plain YAML"),
    "half a character": (r'a: "\ud83d"', "surrogate"),
}


@pytest.mark.parametrize("what", REFUSED_JSON)
def test_json_beyond_a_limit_is_refused(what: str, tmp_path: Path) -> None:
    text, said = REFUSED_JSON[what]
    (tmp_path / "x").write_text(text)
    with pytest.raises(FileError, match=said):
        read_json(tmp_path / "x")


@pytest.mark.parametrize("what", REFUSED_YAML)
def test_yaml_beyond_a_limit_is_refused(what: str, tmp_path: Path) -> None:
    text, said = REFUSED_YAML[what]
    (tmp_path / "x").write_text(text)
    with pytest.raises(FileError, match=said):
        read_yaml(tmp_path / "x")


def test_the_largest_numbers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for value in (MAX_INTEGER - 1, 1 - MAX_INTEGER, 1.7e308, [0.5, 1], {"a": 1e300, "b": 1}):
        path.write_text(json.dumps(value))
        assert read_json(path) == value
    path.write_text("a: 1.0e+300")
    assert math.isclose(read_yaml(path)["a"], 1e300)


def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    assert read_json(tmp_path / "file") == {}
    for path in (tmp_path / "link", tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(FileError, match="ordinary file"):
            read_json(path)
    with pytest.raises(FileError, match="is missing"):
        read_json(tmp_path / "none")
    with pytest.raises(FileError, match="cannot be read"):
        read_json(tmp_path / ("x" * 300))
    with pytest.raises(FileError, match=r"cannot be read|is missing"):
        read_json(Path("a\0b"))
