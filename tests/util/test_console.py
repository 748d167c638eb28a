"""Streams that cannot show a character get its like in ASCII, in every command."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from commands import tiny
from hypothesis import given
from hypothesis import strategies as st

from clbench.cli import main
from clbench.util.console import plain, show_everything, wrapped


@given(st.characters())
def test_every_character_has_something_plain(char: str):
    assert plain(char).isascii()
    assert plain(char)
    assert char.isascii() <= (plain(char) == char)


def test_lines_and_corners():
    assert "".join(map(plain, "─━│┃┌┼╸±–…")) == "--||++-+/--..."


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "+/- -"), ("latin-1", "± -")])
def test_only_what_the_stream_lacks_is_replaced(encoding: str, shown: str):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    show_everything(stream, None)
    stream.write("± –")
    stream.flush()
    assert raw.getvalue().decode(encoding) == shown


def test_a_chosen_error_handler_stays():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    show_everything(stream)
    assert stream.errors == "replace"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "clbench.results.plots.save_curve", lambda records, path: path.write_bytes(b"png")
    )


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from small import write_npz

    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


NAMES = ("stdout", "stderr")


def in_ascii(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """What a command prints on streams of ASCII; an error in printing would be raised."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in NAMES}
    with monkeypatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        assert main([*words]) in (0, 1)
    for stream in streams.values():
        stream.flush()
    return "".join(stream.buffer.getvalue().decode("ascii") for stream in streams.values())  # type: ignore[attr-defined]


@pytest.mark.usefixtures("quick")
def test_runs_tables_and_texts_in_ascii(monkeypatch: pytest.MonkeyPatch, npz: Path, tmp_path: Path):
    runs = str(tmp_path / "runs")
    shown = in_ascii(monkeypatch, "run", *tiny(npz), "strategy=naive", "seed=0..1", "--out", runs)
    assert "naive" in shown
    assert "+/-" in shown
    for kind in ("table", "md", "csv", "latex", "json"):
        assert "naive" in in_ascii(monkeypatch, "results", runs, "--format", kind)
    [arm] = Path(runs).glob("*/*")
    assert in_ascii(monkeypatch, "compare", str(arm), str(arm))


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("show",),
        *((("show", f"strategy={name}")) for name in ("ewc", "kanerva", "slda")),
        ("show", "scenario=scole"),
        ("board", "list"),
        ("data", "fonts"),
        ("cache", "list"),
    ],
    ids=" ".join,
)
def test_other_commands_in_ascii(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
):
    assert in_ascii(monkeypatch, *words) or words == ("cache", "list")


@given(st.text("abc  ", max_size=200), st.integers(21, 90))
def test_a_line_is_broken_on_terminals_only(text: str, width: int):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    line = f"x  {text}."
    assert wrapped(line, io.StringIO()) == line
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        shown = wrapped(line, Terminal(), "   ")
    assert shown.split() == line.split()
    longest = max(len(word) for word in line.split()) + 3
    assert all(len(part) <= max(width, 23, longest) for part in shown.splitlines())
    assert all(part.startswith("   ") for part in shown.splitlines()[1:])
