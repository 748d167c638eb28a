"""The documents: links lead somewhere, and tables name the network that their commands run."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest
from commands import clbench

from clbench.engine.resolved import MARK, head, resolved

pytestmark = pytest.mark.usefixtures("shared_cache")
ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links {link}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links {link}"


def test_the_readme_has_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for marker in ("<!-- main -->", "<!-- tests -->"):
        assert re.search(rf"{marker}\n```sh\n.+\n```", text), marker


COMMAND = re.compile(r"<!-- command: (.+) -->")
RESOLVED = re.compile(r"<!-- (?:command: clbench run|resolved:) (.+) -->")
MLP = re.compile(r"\bMLP (\d+(?:-\d+)+)")
"""A network in a sentence: ``MLP 64-64``, with or without its output layer."""


def sections(page: Path) -> list[str]:
    """The parts of a page under its headings of second level."""
    return re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)


def named(text: str) -> list[tuple[str, list[str]]]:
    """The words of each marker of a text, and the lines below it that say what they resolve to."""
    lines = text.splitlines()
    found = []
    for at, line in enumerate(lines):
        marker = RESOLVED.fullmatch(line)
        if marker:
            below = itertools.takewhile(lambda text: text.startswith(MARK), lines[at + 1 :])
            found.append((marker[1], [*below]))
    return found


CASES = [
    pytest.param(words, lines, id=f"{page.name} {words[:60]}")
    for page in PAGES
    for words, lines in named(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("words", "lines"), CASES)
def test_a_page_names_the_network_that_its_command_runs(words: str, lines: list[str]):
    assert lines == resolved(shlex.split(words))


def test_tables_of_several_pages_are_compared():
    assert len(CASES) >= 12
    assert len({case.id.split()[0] for case in CASES}) >= 6


NUMBER = re.compile(r"[−+-]?\d[\d.,]*(?: (?:±|to) \d[\d.,]*)?(?: \(.*\))?")
PROGRAM = re.compile(r"(?:[A-Z]+='[^']*'; )?(?:clbench|python) ")
"""What a command starts with, perhaps after words that its programs share."""
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
WITHOUT_RUNS = {
    "python benchmarks/synbols.py": "draws images",
    "python benchmarks/mapped.py": "reads samples from a file; its linear model is in the text",
    "python -m benchmarks.sweeps": "plans sweeps and hands them to engines",
    "python -m tests.faults": "breaks files and processes",
    "python -m tests.oracles": "compares with loops in numpy",
    "python -m benchmarks.kanerva_nll": "trains generative models, which are in the text",
    "python -m benchmarks.scale --only": "runs on random data; its network is in the text",
    "python -m benchmarks.encoders --data": "fits linear probes",
    "python -m benchmarks.networks": "has the networks and their sizes in columns",
    "python -m benchmarks.latent_heads": "learns from random latents, without a network",
    "clbench reproduce": "has the network of each row in a column",
}
"""Commands whose tables stand without a network, and why."""


def is_of_numbers(table: str) -> bool:
    """Whether a table has right-aligned columns, or a third of its cells below the head are numbers."""
    _, line, *rows = table.splitlines()
    cells = [cell.strip() for row in rows for cell in row.strip("|").split("|")]
    return "---:" in line or 3 * sum(bool(NUMBER.fullmatch(cell)) for cell in cells) >= len(cells)


def lacking(section: str) -> list[str]:
    """What each table of numbers in a section lacks: its command, or the network that it ran."""
    found = []
    for table in TABLE.finditer(section):
        if not is_of_numbers(table[0]):
            continue
        title, before = table[0].splitlines()[0], section[: table.start()]
        commands = list(COMMAND.finditer(before))
        if not commands or not PROGRAM.match(commands[-1][1]):
            found.append(f"no command above {title}")
            continue
        runs = not commands[-1][1].startswith(tuple(WITHOUT_RUNS))
        if runs and f"\n{MARK}network " not in before[commands[-1].end() :]:
            found.append(f"no network between the command and {title}")
        if commands[-1][1].startswith("clbench reproduce") and "| network |" not in title:
            found.append(f"no column of networks in {title}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_table_of_numbers_has_its_command_and_the_network_that_it_ran(page: Path):
    found = [f"{page.name}: {what}" for section in sections(page) for what in lacking(section)]
    assert not found


def test_a_table_without_command_or_network_is_found():
    table = "| a | b |\n| --- | --- |\n| er | 92.3 ± 3.8 |\n"
    command, network = "<!-- command: clbench run scenario=scole -->", f"{MARK}network `mlp`; x."
    title = table.splitlines()[0]
    assert lacking(table) == [f"no command above {title}"]
    assert lacking(f"{network}\n{command}\n\n{table}") == [
        f"no network between the command and {title}"
    ]
    assert lacking(f"{command}\n{network}\n\n{table}") == []
    assert lacking(f"<!-- command: clbench reproduce x -->\n\n{table}") == [
        f"no column of networks in {title}"
    ]
    assert lacking(f"<!-- command: A='seed=0..2'; clbench run $A -->\n{network}\n\n{table}") == []
    assert lacking("<!-- command: see below -->\n\n" + table) == [f"no command above {title}"]
    assert lacking("| setting | effect |\n| --- | --- |\n| `lr` | a rate |\n") == []


STALE = {"long_streams.md": "its times need the environment of Avalanche, and a quiet machine"}
"""Pages that may say that their numbers are of an earlier results version, and why."""


def test_no_other_page_shows_numbers_of_an_earlier_results_version():
    for page in PAGES:
        if page.name not in STALE:
            assert "Not run again since" not in page.read_text(encoding="utf-8"), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_network_in_a_sentence_is_one_that_was_run(page: Path):
    """In a page that resolves its networks, ``MLP 64-64`` is one of them."""
    text = page.read_text(encoding="utf-8")
    for found in MLP.finditer(text) if named(text) else ():
        widths = found[1].split("-")
        shown = [f"hidden=[{','.join(some)}]" for some in (widths, widths[:-1])]
        assert any(one in text for one in shown), f"{page.name}: {found[0]}"


def test_another_network_is_found(tmp_path: Path):
    """The fault that this is here for: the page said MLP, and the command ran a CNN."""
    command = "clbench run scenario=class_incremental data=mnist5k strategy=er"
    [line] = resolved(shlex.split(command.removeprefix("clbench run ")))
    assert line.startswith('Resolved: network `scole_cnn` head="linear", 21,840 parameters')
    wrong = line.replace("scole_cnn", "mlp")
    [(words, lines)] = named(f"<!-- command: {command} -->\n{wrong}\n\n| a |\n")
    assert lines == [wrong] != resolved(shlex.split(words))


def test_the_command_line_prints_what_stands_above_a_table(capsys: pytest.CaptureFixture[str]):
    words = ["scenario=scole", "strategy=naive,ewc", "seed=0..2"]
    code, out, _ = clbench(capsys, "run", *words, "--dry-run", "--md")
    assert code == 0
    assert out.splitlines() == [*head("clbench run " + shlex.join(words), words)]
    code, _, err = clbench(capsys, "run", "--md")
    assert (code, err.count("\n")) == (2, 1)
