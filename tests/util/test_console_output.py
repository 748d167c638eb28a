"""What a terminal may be sent, and streams whose reader is gone."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clbench.util import console
from clbench.util.text import as_cell, as_exact_cell


@given(st.text())
def test_what_is_shown_is_printable_and_keeps_what_was(text: str):
    shown = console.printable(text)
    assert shown.isprintable()
    assert console.printable(shown) == shown
    assert sum(c.isprintable() for c in text) <= len(shown)
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc", r"a\x0ab\x09c"),
        ("\u202eabc", r"\u202eabc"),
        ("\U000e0001", r"\U000e0001"),
        ("\x9b2J", r"\x9b2J"),
    ],
)
def test_escapes_say_which_character_it_was(text: str, shown: str):
    assert console.printable(text) == shown


@given(st.text())
def test_one_line_is_one_line(text: str):
    shown = console.one_line(text)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()


@given(st.text())
def test_no_cell_starts_a_formula(text: str):
    for cell in (as_cell(text), as_exact_cell(text)):
        assert cell[:1] not in tuple("=+-@\t\r＝＋－＠")
        assert "\x1b" not in cell
        assert "\x00" not in cell


def test_a_stream_that_nobody_reads_is_let_go():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        stream.write("text")
        console.let_go(stream, None)
        stream.write("more")
        stream.flush()
    console.let_go(stream, io.StringIO())  # closed; in memory
