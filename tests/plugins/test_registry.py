"""Finding plug-ins, and what goes wrong with a user's own file."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path

import pytest

from clbench.errors import UsageError
from clbench.plugins import registry

GROUPS = ("scenario", "strategy", "data", "encoder", "model", "tracker")
GOOD = '''"""One line on it.

More of it.
"""
from clbench.strategy import GradientStrategy


class Mine(GradientStrategy):
    """Mine."""
'''


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(path: Path, group: str = "strategy") -> str:
    with pytest.raises(UsageError) as caught:
        registry.find(group, str(path)).load()
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("group", GROUPS)
def test_every_built_in_plugin_loads_and_says_what_it_is(group: str):
    found = registry.plugins(group)
    assert found
    for name, plugin in found.items():
        assert plugin.name == name == plugin.path.stem
        assert plugin.load().__name__
        assert plugin.summary()
        assert registry.find(group, name) == plugin


def test_the_built_ins_are_there():
    assert {"naive", "joint", "ewc"} <= set(registry.plugins("strategy"))
    assert {"scole", "class_incremental", "task_incremental", "domain_incremental"} <= set(
        registry.plugins("scenario")
    )


def test_a_users_file(tmp_path: Path):
    plugin = registry.find("strategy", str(write(tmp_path, GOOD)))
    assert plugin.name == "mine"
    assert plugin.summary() == "One line on it."
    cls = plugin.load()
    assert cls.__name__ == "Mine"
    assert plugin.load() is cls


def test_an_edited_file_is_loaded_anew(tmp_path: Path):
    path = write(tmp_path, GOOD)
    first = registry.find("strategy", str(path)).load()
    write(tmp_path, GOOD.replace("class Mine", "class Other"))
    assert registry.find("strategy", str(path)).load().__name__ == "Other"
    assert first.__name__ == "Mine"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("x = 1\ndef f(:\n", 2, "SyntaxError"),
        ("import nowhere_at_all\n", 1, "ModuleNotFoundError"),
        ("\n\nraise ValueError('first\\nsecond')\n", 3, "ValueError: first"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError"),
        ("x = '\x00'\n", None, "null bytes"),
    ],
)
def test_a_broken_file_gets_one_line_with_the_line_number(
    tmp_path: Path, text: str, line: int | None, says: str
):
    said = refused(write(tmp_path, text))
    assert says in said
    if line is not None:
        assert f"mine.py line {line}" in said


def test_a_broken_file_leaves_nothing_behind(tmp_path: Path):
    before = set(sys.modules)
    refused(write(tmp_path, "raise ValueError\n"))
    assert {m for m in set(sys.modules) - before if "mine" in m} == set()


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n",
        "from clbench.strategy import GradientStrategy\n",
        GOOD + "\n\nclass Second(Mine):\n    pass\n",
        "class Mine:\n    pass\n",
    ],
    ids=["nothing", "only imported", "two", "no base"],
)
def test_a_file_defines_exactly_one_plugin(tmp_path: Path, text: str):
    assert "exactly one" in refused(write(tmp_path, text))


def test_a_file_of_another_group_is_refused(tmp_path: Path):
    assert "Scenario" in refused(write(tmp_path, GOOD), "scenario")


def test_a_file_that_cannot_be_parsed_is_still_listed(tmp_path: Path):
    path = write(tmp_path, "def f(:\n")
    assert registry.find("strategy", str(path)).summary() == "(cannot be read)"


def entry_points(**modules: str) -> object:
    """What ``importlib.metadata.entry_points`` gives where packages declare these strategies."""
    found = [
        importlib.metadata.EntryPoint(name, f"{module}:X", "clbench.strategies")
        for name, module in modules.items()
    ]
    return lambda: importlib.metadata.EntryPoints(found)


def test_a_summary_is_the_first_line_of_the_docstring_as_python_reads_it(tmp_path: Path):
    texts = (
        '"""One line."""\n',
        '"""\nBelow.\n\nMore.\n"""\nx = 1\n',
        "'''Other quotes.'''\n",
        '# Comment.\n"""After it."""\n',
        'r"""Raw \\d."""\n',
        '"""An escape \\x41."""\n',
        '"""Not alone.""" + "x"\n',
        '"""Joined.""" " to this."\n',
        "x = 1\n",
        "",
        '"""Zeilen über.\r\n\r\nMehr."""\r\n',
        '# coding: latin-1\n"""Über."""\n'.encode("latin-1"),
        b'\xef\xbb\xbf"""After a mark."""\n',
    )
    for text in texts:
        path = tmp_path / "mine.py"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        doc = ast.get_docstring(ast.parse(text)) or ""
        wanted = doc.strip().splitlines()[0] if doc.strip() else ""
        assert registry.find("strategy", str(path)).summary() == wanted, text


def test_installed_packages_declare_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, GOOD, "their_package_module.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = entry_points(theirs="their_package_module", gone="nowhere_at_all")
    monkeypatch.setattr(importlib.metadata, "entry_points", entries)
    found = registry.plugins("strategy")
    assert found["theirs"].load().__name__ == "Mine"
    assert "gone" not in found
    assert "theirs" not in registry.plugins("model")


def test_two_plugins_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, GOOD, "their_package_module.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = entry_points(ewc="their_package_module")
    monkeypatch.setattr(importlib.metadata, "entry_points", entries)
    with pytest.raises(UsageError, match="declared twice"):
        registry.plugins("strategy")


def test_did_you_mean():
    assert registry.did_you_mean("ewd", ["ewc", "naive"]) == "; did you mean 'ewc'?"
    assert registry.did_you_mean("zzzzzz", ["ewc", "naive"]) == ""


def test_what_stands_after_a_colon():
    plugin = registry.find("encoder", "timm:resnet18.a1_in1k")
    assert (plugin.name, plugin.argument) == ("timm", "resnet18.a1_in1k")
    assert registry.find("encoder", "checkpoint:a/b:c.pt").argument == "a/b:c.pt"
    assert registry.find("encoder", "timm").argument is None
    with pytest.raises(UsageError, match="unknown encoder 'tim:resnet18'"):
        registry.find("encoder", "tim:resnet18")
