"""YAML as on the command line: decimal numbers, no booleans from words, no key twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clbench.configure.sweep import sweep
from clbench.errors import UsageError
from clbench.util.files import FileError, read_yaml
from clbench.util.yaml_files import YamlError, dump, line_of, load

ROOT = Path(__file__).parents[2]
SCALARS = {
    "010": 10,
    "-007": -7,
    "0o10": 8,
    "0x1f": 31,
    "1e-3": 1e-3,
    "1E5": 1e5,
    ".5": 0.5,
    "3.": 3.0,
    "12:30": "12:30",
    "1_000": "1_000",
    "no": "no",
    "On": "On",
    "true": True,
    "FALSE": False,
    "null": None,
    "~": None,
    "2026-01-01": "2026-01-01",
    "0b11": "0b11",
    "09": 9,
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_those_of_yaml_1_2(text: str):
    found = load(f"a: {text}")["a"]
    assert (found, type(found)) == (SCALARS[text], type(SCALARS[text]))


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.integers(0, 10**12), st.integers(0, 4))
def test_leading_zeros_change_no_number(value: int, zeros: int):
    assert load(f"{'0' * zeros}{value}") == value


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.text("0123456789.:eEoxX_+-~<=", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(PLAIN, st.booleans())
def test_what_is_written_means_the_same_to_readers_of_1_1_and_1_2(data: Any, unicode: bool):
    text = dump({"a": data}, allow_unicode=unicode)
    assert load(text) == {"a": data}
    assert yaml.safe_load(text) == {"a": data}


@pytest.mark.parametrize("path", sorted(ROOT.glob("leaderboards/**/*.yaml")), ids=str)
def test_files_of_boards_mean_what_they_meant(path: Path):
    assert read_yaml(path) == yaml.safe_load(path.read_text())


TWICE = {
    "seed: 1\nseed: 2\n": "line 2: key 'seed' is given twice (first in line 1)",
    "strategy:\n  name: ewc\n  lr: 1\n  lr: 2\n": "line 4: key 'lr' is given twice (first in line 3)",
    "strategy: {name: ewc, lr: 1, 'lr': 2}\n": "line 1: key 'lr' is given twice (first in line 1)",
    "1: a\n0x1: b\n": "line 2: key '0x1' is given twice (first in line 1)",
}


@pytest.mark.parametrize("text", TWICE)
def test_a_key_twice_is_refused_with_both_lines(text: str, tmp_path: Path):
    with pytest.raises(YamlError) as found:
        load(text)
    assert str(found.value) == TWICE[text]
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        sweep([], file)
    assert str(refused.value) == f"--config {file}: {TWICE[text]}"
    with pytest.raises(FileError) as strict:
        read_yaml(file)
    assert TWICE[text] in str(strict.value)


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ("strategy: {name: ewc, lr: 1}\nstrategy.lr: 2\n", "strategy.lr", (2, 1)),
        ("strategy.lr: 2\nstrategy:\n  lr: 1\n", "strategy.lr", (3, 1)),
    ],
)
def test_a_setting_in_two_spellings_is_given_twice(
    text: str, name: str, lines: tuple[int, int], tmp_path: Path
):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        sweep([], file)
    assert f"line {lines[0]}: {name} is given twice (first in line {lines[1]})" in str(
        refused.value
    )


def test_lines_of_keys():
    text = "a:\n  b: 1\n  c: {d: 2}\n"
    assert [line_of(text, *k) for k in (("a",), ("a", "c", "d"), ("x",), ("a", "x"))] == [
        1,
        3,
        None,
        None,
    ]


@pytest.mark.parametrize("text", ["[" * 5000, "a: [", "\x00", "9" * 5000, "!!int x", "*a"])
def test_malformed_text_is_one_line(text: str):
    with pytest.raises(YamlError) as found:
        load(text)
    assert "\n" not in str(found.value)


def test_lists_on_the_command_line_have_decimal_numbers():
    from clbench.configure.config import resolve

    [config] = resolve(["scenario=scole", "strategy=naive", "model=mlp", "model.hidden=[010,8]"])
    assert config.model.hidden == (10, 8)
