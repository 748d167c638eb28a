"""Numbers and words that are read without OmegaConf are read as OmegaConf reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clbench.configure import typed
from clbench.errors import UsageError


@dataclass(frozen=True)
class Settings:
    whole: int = 0
    real: float = 0.0
    maybe_whole: int | None = None
    maybe_real: float | None = None
    word: str = ""
    maybe_word: str | None = None
    mixed: int | str = 0
    several: tuple[int, ...] = ()
    reals: tuple[float, ...] = (0.5,)


def by_omegaconf(name: str, text: Any) -> Any:
    return getattr(OmegaConf.to_object(OmegaConf.merge(Settings, {name: text})), name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("whole", int),
        ("real", float),
        ("maybe_whole", int),
        ("maybe_real", float),
        ("word", str),
        ("maybe_word", str),
    ],
)
def test_a_plain_number_or_word(name: str, kind: type[int] | type[float] | type[str]):
    @given(st.from_regex(typed.PLAIN[kind], fullmatch=True))
    def same(text: str) -> None:
        found = getattr(typed.build(Settings, {name: text}, ""), name)
        assert type(found) is kind
        assert found == by_omegaconf(name, text)

    same()


@given(st.text(max_size=8))
def test_whatever_else_is_typed(text: str):
    """What is no plain number is still refused, or means what OmegaConf says."""
    try:
        found = typed.build(Settings, {"real": text}, "").real
    except UsageError:
        return
    assert found == by_omegaconf("real", text)
    assert not math.isnan(found)


def test_null_is_a_word_only_where_there_is_no_null():
    assert typed.build(Settings, {"maybe_word": "null"}, "").maybe_word is None
    assert typed.build(Settings, {"maybe_word": "nullable"}, "").maybe_word == "nullable"
    with pytest.raises(UsageError, match="word=null"):
        typed.build(Settings, {"word": "null"}, "")


def test_what_is_not_one_number_keeps_its_type():
    assert typed.build(Settings, {"several": "[1]"}, "").several == (1,)
    assert typed.build(Settings, {"mixed": "1x"}, "").mixed == "1x"
    for name in ("several", "mixed"):
        assert typed._atom(Settings, name) is None  # type: ignore[arg-type]


@given(
    st.lists(st.one_of(st.integers(-9, 9), st.floats(allow_nan=False), st.booleans()), max_size=3)
)
def test_lists_as_json_gives_them(numbers: list[Any]):
    for name in ("several", "reals"):
        try:
            expected = by_omegaconf(name, numbers)
        except OmegaConfBaseException:
            with pytest.raises(UsageError):
                typed.build(Settings, {name: numbers}, "")
            continue
        found = getattr(typed.build(Settings, {name: numbers}, ""), name)
        assert found == expected
        assert [type(n) for n in found] == [type(n) for n in expected]
