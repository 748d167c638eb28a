"""Names that a reader cannot tell apart, and texts that do not show what they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clbench.util.lookalikes import fault_of_text, looks_of, shows_something

SAME = [
    ("naive", "Naive"), ("naive", " naive  "), ("deep er", "deep  ER"), ("er", "ｅｒ"), ("er", "𝐞𝐫"),
    ("naive", "naїve"), ("naive", "naïve"), ("naive", "n\u200baive"), ("cope", "соре"),
    ("COPE", "СОРЕ"),
    ("slda", "sIda"), ("slda", "s1da"), ("Bayes", "Βayes"), ("mo", "m0"), ("ﬁsher", "fisher"),
]  # fmt: skip
PLAIN = [
    "naive", "A-GEM", "DER++", "ER (budget=50 %)", "C. Müller", "Nguyễn Văn A", "王小明", "田中 Tanaka",
    "김철수", "Иван Петров", "Γιώργος", "β-VAE", "λ = 0.1", "שלום", "สวัสดี", "ज़िंदगी", "EWC – online",
    "x₂",
]  # fmt: skip
ODD = {
    "n\u200baive": "U+200B, which cannot be seen",
    "a\u202eb": "U+202E",
    "a\u2066b": "U+2066",
    "a\u00adb": "U+00AD",
    "ㅤ": "U+3164",
    "a\ufe0f": "U+FE0F",
    "a\u034fb": "U+034F",
    "⠀": "U+2800",
    "\u0301": "combining marks without a letter",
    "a \u0301": "combining marks without a letter",
    "a" + "\u0301" * 9: "more than 3 on one",
    "nаive": "mixes Cyrillic and Latin letters",
    "Εwc": "mixes Greek and Latin letters",
    "Սer": "mixes Armenian and Latin letters",
}


@pytest.mark.parametrize(("a", "b"), SAME)
def test_names_that_look_the_same_are_the_same(a: str, b: str) -> None:
    assert looks_of(a) & looks_of(b)


@pytest.mark.parametrize(
    ("a", "b"), [("er", "der"), ("der", "derpp"), ("kanerva", "kanerva-replay"), ("si", "sl")]
)
def test_other_names_are_not(a: str, b: str) -> None:
    assert not looks_of(a) & looks_of(b)


@pytest.mark.parametrize("text", PLAIN)
def test_names_of_people_and_methods_can_be_read(text: str) -> None:
    assert fault_of_text(text) == ""
    assert shows_something(text)


@pytest.mark.parametrize("text", ODD)
def test_what_cannot_be_seen_is_named(text: str) -> None:
    assert ODD[text] in fault_of_text(text)


@pytest.mark.parametrize("text", ["", " ", "---", "ㅤ", "\u0301", "…"])
def test_a_blank_text_shows_nothing(text: str) -> None:
    assert not shows_something(text)


@given(st.text())
def test_any_text_is_judged_in_one_line(text: str) -> None:
    said = fault_of_text(text)
    assert said.isprintable()
    assert all(look.isprintable() for look in looks_of(text))
