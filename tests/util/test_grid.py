"""Tables: no line is wider than the terminal, columns go from the right, and a line names them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clbench.util import grid
from clbench.util.grid import Head

TEXTS = st.text(st.characters(codec="ascii"), max_size=30)


class Terminal(io.StringIO):
    """A terminal of a number of columns, which rich reads from ``COLUMNS``."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(heads: list[Head], rows: list[list[str]], stream: io.StringIO, **rest: object) -> str:
    grid.print_table(heads, rows, stream=stream, **rest)  # type: ignore[arg-type]
    return stream.getvalue()


@given(
    st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=8),
    st.integers(10, 120),
    st.booleans(),
)
def test_columns_go_from_the_right_until_the_rest_fits(
    columns: list[tuple[int, bool]], room: int, boxed: bool
):
    heads = [Head("x" * width, stays=stays) for width, stays in columns]
    left = grid.fitting(heads, [], room, boxed)

    def width(numbers: list[int]) -> int:
        return sum(len(heads[at].title) + (3 if boxed else 2) for at in numbers) + boxed

    assert left == sorted(left)
    gone = [at for at in range(len(heads)) if at not in left]
    assert not any(heads[at].stays for at in gone)
    if width(left) > room:
        assert all(heads[at].stays for at in left)
    if gone:  # the last that went had to go, and none to the right of it could have stayed
        assert width(sorted([*left, min(gone)])) > room
        assert all(heads[at].stays for at in left if at > min(gone))


def test_no_line_is_wider_than_the_terminal(narrow: None):
    heads = [Head("strategy", right=False, stays=True)]
    heads += [Head(f"column {n}", stays=n == 0) for n in range(12)]
    rows = [["a name of thirty-two characters.", *["97.3 ± 0.6"] * 12]]
    lines = shown(heads, rows, Terminal(), more="--json has them").splitlines()
    plain = [line for line in lines if "\x1b" not in line]
    assert max(len(line) for line in plain) <= 80
    last = " ".join(lines[5:])  # below three rules, a head and a row: what was left out
    assert last.startswith("left out, from the right, for want of room: column ")
    assert last.endswith("column 11; --json has them")
    assert last.count("column") == 12 - lines[1].count("column")


def test_a_name_that_is_too_long_is_cut_and_not_wrapped(narrow: None):
    heads = [Head("strategy", right=False, stays=True), Head("n", stays=True), Head("more")]
    lines = shown(heads, [["x" * 300, "5", "1"]], Terminal()).splitlines()
    assert len(lines) == 6
    assert "…" in lines[3]
    assert "5" in lines[3]


def test_a_file_gets_all_columns_and_no_codes():
    heads = [Head(f"column {n}") for n in range(60)]
    text = shown(heads, [["1"] * 60], io.StringIO(), title="t", caption="c")
    assert "\x1b" not in text
    assert all(f"column {n}" in text for n in range(60))
    assert "left out" not in text


@pytest.mark.parametrize("force", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_no_codes_where_none_are_wanted(
    narrow: None, monkeypatch: pytest.MonkeyPatch, force: dict[str, str]
):
    heads, rows = [Head("a"), Head("b")], [["1", "2"]]
    assert "\x1b[1m" in shown(heads, rows, Terminal())  # a terminal has a bold head
    for name, value in force.items():
        monkeypatch.setenv(name, value)
    assert "\x1b" not in shown(heads, rows, io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown(heads, rows, Terminal())


@given(TEXTS, st.booleans())
def test_no_text_of_strangers_reaches_a_terminal_raw(text: str, boxed: bool):
    out = shown(
        [Head("a", stays=True)], [[f"\x1b[31m{text}\x9b\u202e"]], io.StringIO(), boxed=boxed
    )
    assert not any(c in out for c in "\x1b\x9b\u202e\r\x07\x08")
    assert r"\x1b[31m" in out


def test_names_are_cut_before_what_was_asked_for_is_left_out(narrow: None):
    heads = [Head("strategy", right=False, stays=True), Head("n", stays=True)]
    row = ["a name of thirty-two characters.", "5", *["47.7 [0.0, 100.0]"] * 3]
    for asked, left in ((True, 0), (False, 1)):
        metrics = [Head(f"column {n}", stays=n == 0, asked=asked) for n in range(3)]
        lines = shown([*heads, *metrics], [row], Terminal()).splitlines()
        table = [line for line in lines if "left out" not in line]
        assert len(lines) - len(table) == left
        assert max(len(line) for line in table if "\x1b" not in line) <= 80
        assert table[3].count("47.7 [0.0, 100.0]") == 3 - left, "no number is cut"
