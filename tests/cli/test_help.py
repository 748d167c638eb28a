"""Help of every command: examples on lines of their own, which the parser takes, in 80 columns."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from clbench import cli


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


PARSERS = {parser.prog: parser for parser in parsers(cli.build_parser())}


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """The lines below ``examples:``; a line that ends in a backslash goes on."""
    block = parser.format_help().split("\nexamples:\n")[1].split("\n\n")[0]
    return re.sub(r" \\\n +", " ", block.rstrip("\n")).split("\n")


def commands(line: str) -> list[str]:
    """The clbench commands of an example, without the remark or the redirection behind it."""
    bare = re.split(r"\s{2,}\(| < | \| ", line.strip())[0]
    return re.findall(r"clbench [^)]*", bare)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", PARSERS)
def test_help_fits_80_columns(name: str):
    text = PARSERS[name].format_help()
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", PARSERS)
def test_each_example_stands_on_a_line_of_its_own_and_is_taken_by_the_parser(name: str):
    found = examples(PARSERS[name])
    assert found
    whole = cli.build_parser()
    for line in found:
        assert line.startswith("  ")
        [command] = commands(line)
        words = shlex.split(command)[1:]
        if words[-1] == "--help":
            continue
        assert callable(cli.parse(whole, words).call), line


@pytest.mark.parametrize("name", PARSERS)
def test_every_argument_has_a_line_of_help(name: str):
    for action in PARSERS[name]._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert action.help or action.choices, action.dest
