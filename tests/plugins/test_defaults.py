"""Defaults read from source are those of the plug-in; what only running would show is not made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from clbench.configure.common import plain_defaults
from clbench.plugins.defaults import UNREADABLE, is_same, written_defaults
from clbench.plugins.registry import plugins

SOURCE = """
import math
from dataclasses import dataclass, field
from clbench import GradientStrategy

HALF = 0.5

@dataclass(frozen=True)
class Inside:
    epochs: int | None = None
    rate: float | None = {inside}

class Mine(GradientStrategy):
    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        share: float = HALF
        sizes: tuple[int, ...] = (1, 2)
        inside: Inside = Inside()
        made: float = math.sqrt(2.0)
        factory: float = field(default_factory=lambda: 0.1)
"""


@pytest.mark.parametrize("group", ["strategy", "model"])
def test_written_defaults_are_those_of_the_class(group: str) -> None:
    for plugin in plugins(group).values():
        cls = plugin.load()
        loaded = plain_defaults(cls.Config if group == "strategy" else cls)
        assert written_defaults(plugin.path) == loaded, plugin.name


def test_what_is_computed_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format(inside="None"))
    found = written_defaults(path)
    assert (found["share"], found["sizes"], found["inside"]) == (0.5, [1, 2], {})
    assert found["made"] is found["factory"] is UNREADABLE
    assert found["label_smoothing"] == 0.0  # of the base
    path.write_text(SOURCE.format(inside="0.25"))
    assert written_defaults(path)["inside"] == {"rate": 0.25}
    path.write_text(SOURCE.format(inside="float('inf')"))
    assert written_defaults(path)["inside"] is UNREADABLE


def test_true_is_not_one() -> None:
    assert is_same(1, 1.0)
    assert not is_same(True, 1)
    assert not is_same(UNREADABLE, None)
