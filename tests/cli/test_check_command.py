"""``clbench check``: what its words make of a plug-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import clbench.checks
from clbench.cli import main
from clbench.plugins.registry import Plugin


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Plugin]:
    found: list[Plugin] = []

    def check(plugin: Plugin) -> Iterator[object]:
        found.append(plugin)
        return iter(())

    monkeypatch.setattr(clbench.checks, "check", check)
    return found


def test_beside_a_strategy_a_model_says_what_it_is_tried_with(checked: list[Plugin]):
    words = ("model.tune=head", "strategy=coda_prompt", "model=vit_tiny", "strategy.lr=0.03")
    assert main(["check", *words]) == 0
    [plugin] = checked
    assert (plugin.group, plugin.name) == ("strategy", "coda_prompt")
    assert dict(plugin.given) == {"lr": "0.03", "model": "vit_tiny", "model.tune": "head"}


def test_without_a_strategy_a_model_is_checked_itself(checked: list[Plugin]):
    assert main(["check", "model=vit_tiny", "model.tune=bias"]) == 0
    [plugin] = checked
    assert (plugin.group, plugin.name, plugin.given) == ("model", "vit_tiny", (("tune", "bias"),))


def test_a_strategy_is_tried_with_one_model(capsys: pytest.CaptureFixture[str]):
    assert main(["check", "strategy=naive", "model=mlp", "model=linear"]) == 2
    assert "a strategy is tried with one model" in capsys.readouterr().err
