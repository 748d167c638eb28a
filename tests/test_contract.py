"""The contract suite over every built-in plug-in; a new file is picked up by itself."""

from __future__ import annotations

import pytest

from clbench.checks import SUITES, Check, attempt, suite
from clbench.plugins.registry import Plugin, plugins

CASES = [
    pytest.param(check, plugin, id=f"{group}-{plugin.name}-{check.__name__}")
    for group in SUITES
    for plugin in plugins(group).values()
    for check in suite(group)
]


@pytest.mark.parametrize(("check", "plugin"), CASES)
def test_contract(check: Check, plugin: Plugin) -> None:
    finding = attempt(check, plugin)
    assert finding.passed, finding.message
