"""The contract suite over every built-in plug-in; a new file is picked up by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest
from plugin_settings import SMALL

from clbench.checks import SUITES, Check, Rig, attempt, suite
from clbench.checks.strategy_rows import learns_from_data_larger_than_memory
from clbench.plugins.registry import Plugin, plugins

CASES = [
    pytest.param(
        replace(plugin, given=SMALL.get(plugin.name, ())),
        check,
        id=f"{group}-{plugin.name}-{check.__name__}",
    )
    for group in SUITES
    for plugin in plugins(group).values()
    for check in suite(group)
]


@pytest.fixture(scope="module")
def rig_of() -> Callable[[Plugin], Rig]:
    """The same one for all checks of a plug-in, until the next comes."""
    return lru_cache(maxsize=1)(Rig)


@pytest.mark.parametrize(("plugin", "check"), CASES)
def test_contract(plugin: Plugin, check: Check, rig_of: Callable[[Plugin], Rig]) -> None:
    finding = attempt(check, rig_of(plugin))
    assert finding.passed, finding.message
    if check is learns_from_data_larger_than_memory:
        assert not finding.message  # it applies to every strategy that comes with clbench
