"""Settings that a plug-in got after a board was frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from leaderboard import synthetic

from clbench.configure import settings_after_freeze
from clbench.errors import UsageError
from clbench.plugins.registry import find

FIXED = {"model": "mlp", "model.hidden": [64, 64], "data": "digits", "eval_every": "1"}


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ({"name": "mlp", "hidden": [64, 64]}, []),
        ({"name": "mlp", "hidden": [64, 64], "head": "linear"}, []),
        ({"name": "mlp", "hidden": [64, 64], "head": "weight_norm"}, ["model.head"]),
        ({"name": "mlp", "hidden": [64, 64], "nobody": 1, "b": None}, ["model.b", "model.nobody"]),
        ("mlp", []),  # not what a record has; other rules say so
    ],
)
def test_a_later_setting_keeps_its_default(model: Any, found: list[str]):
    config = {"model": model, "data": {"name": "digits", "augment": "none"}, "eval_every": "1"}
    assert settings_after_freeze.changed(FIXED, config) == found


def test_of_a_plugin_that_is_not_installed_no_default_is_known():
    config = {"model": {"name": "theirs", "width": 3}}
    assert settings_after_freeze.changed({"model": "theirs"}, config) == ["model.width"]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"compile": False}, []),
        ({"compile": True, "seed": 7, "diagnostics": ["rank"]}, ["compile"]),
        ({"nobody": 1}, ["nobody"]),
        ({}, []),  # of a record from before
    ],
)
def test_a_later_setting_of_no_group_keeps_its_default(config: dict[str, Any], found: list[str]):
    assert settings_after_freeze.changed(FIXED, {"eval_every": "1", **config}) == found


def test_what_a_board_leaves_open_is_open():
    assert (
        settings_after_freeze.changed(
            {"data": "digits"}, {"model": {"name": "mlp", "head": "weight_norm"}}
        )
        == []
    )


def test_defaults_are_those_of_the_settings():
    """Tuples are lists in a record."""
    hidden = settings_after_freeze.defaults_of("model", "mlp")["hidden"]
    assert hidden == list(find("model", "mlp").load()().hidden)


def test_a_run_is_refused(tmp_path: Path):
    from clbench.configure.config import resolve

    folder = tmp_path / "old"
    synthetic.write_board(synthetic.board(folder))
    words = (f"board={folder}", "strategy=naive", "seed=0")
    assert len(resolve([*words, "model.head=linear"])) == 1
    with pytest.raises(UsageError, match=r"model\.head came after board 'old' was frozen"):
        resolve([*words, "model.head=weight_norm"])
    with pytest.raises(UsageError, match=r"compile came after board 'old' was frozen"):
        resolve([*words, "compile=true"])
