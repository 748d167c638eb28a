"""Values of words: commas sweep, quotes keep them, an apostrophe is a letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clbench.configure.config import resolve
from clbench.configure.sweep import sweep
from clbench.configure.trackers import take_trackers
from clbench.configure.words import QUOTES, Quoted, as_typed, cut, quote, split_top, without_folder
from clbench.errors import UsageError

BASE = ["scenario=scole", "strategy=naive", "model=mlp"]
TEXT = st.text("ab,'\"[]{}()/.: 0", min_size=1, max_size=12)


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_any_values_in_quotes_come_back(values: list[str]):
    assert split_top(",".join(map(quote, values))) == values


@given(TEXT | st.sampled_from(["null", "[1,2]", "0..3", "it's", "'", "''", '"a"']))
def test_any_single_value_can_be_typed(value: str):
    assert split_top(as_typed(value)) == [value]
    assert split_top(as_typed(Quoted(value))) == [value]


@given(st.lists(st.from_regex(r"[a-z]{1,3}'[a-z]{0,3}", fullmatch=True), min_size=1))
def test_an_apostrophe_inside_a_value_is_a_letter(values: list[str]):
    assert split_top(",".join(values)) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("'a,b.npz'", ["a,b.npz"]),
        ('"a,b.npz",c', ["a,b.npz", "c"]),
        ("'it''s,here'", ["it's,here"]),
        ("[a,'b,]'],c", ["[a,'b,]']", "c"]),
        ("[it's,b],c", ["[it's,b]", "c"]),
        ("'0..2'", ["0..2"]),
    ],
)
def test_quotes(text: str, values: list[str]):
    assert split_top(text) == values


@pytest.mark.parametrize("text", ["'a", "'a,b", "'a'b", '"', "x,'y"])
def test_a_quote_that_is_not_closed_is_refused_with_what_to_type(text: str):
    with pytest.raises(UsageError, match="not closed") as refused:
        sweep([*BASE, f"data.path={text}"])
    told = str(refused.value).rpartition("write ")[2]
    assert split_top(told) == [part for part in cut(text) if part[0] in QUOTES]


def path_of(word: str) -> Path:
    [config] = resolve([*BASE, "data=npz", word])
    found: Path = config.data.path
    return found


@pytest.mark.parametrize("name", ["a,b.npz", "it's.npz", "null", "[1,2]", "{a: b}", "'q'", "0..2"])
def test_any_file_name_can_be_given(name: str):
    assert path_of(f"data.path={quote(name)}") == Path(name)


def test_what_is_quoted_is_no_sweep_and_no_null():
    assert len(sweep([*BASE, "data.path='a,b'"])) == 1
    assert [p["data.path"] for p in sweep([*BASE, "data.path=it's,y"])] == ["it's", "y"]
    with pytest.raises(UsageError):
        resolve([*BASE, "scenario.n_tasks='null'"])


def test_trackers_take_quotes():
    words = ["tracker=mlflow", "tracker.uri='file:a,b'"]
    _, [chosen] = take_trackers(words)
    assert dict(chosen.given) == {"uri": "file:a,b"}


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("data.path=/home/me/a.npz", "data.path=a.npz"),
        ("data.path='/home/me,here/a,b.npz'", "data.path='a,b.npz'"),
        ("data.path='/home/x/a','/home/y/b'", "data.path='a','b'"),
        ("strategy=er,/home/it's/mine.py", "strategy=er,mine.py"),
    ],
)
def test_folders_stay_out_of_the_record(word: str, shown: str):
    assert without_folder(word) == shown
