"""docs/streams.md: every command is one that runs, and every setting that it names exists."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.plugins.registry import plugins

PAGE = Path(__file__).parents[2] / "docs" / "streams.md"
COMMANDS = re.findall(r"^clbench run (.+?)(?:\s+#.*)?$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_resolves(command: str):
    for point in sweep(shlex.split(command)):
        config = resolve_point(point)
        assert config.common.eval_every


def test_commands_are_found():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("name", ["repetition", "blurry", "all_pairs"])
def test_every_setting_is_named(name: str):
    text = PAGE.read_text()
    for field in dataclasses.fields(plugins("scenario")[name].load()):
        assert re.search(rf"`(?:scenario\.)?{field.name}(?:=[\w.]+)?`", text), field.name
