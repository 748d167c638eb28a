"""The contract of every built-in strategy on the accelerator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from clbench.checks import Check, Rig, attempt, suite
from clbench.plugins.registry import Plugin, plugins

ON_CPU = {
    "makes_tensors_on_the_device_of_its_data",  # tries the device meta
    "never_waits_for_the_device_in_its_inner_loop",  # watches the dispatcher
    "works_in_float64",
    "refuses_unknown_settings",
    "refuses_senseless_settings",
    "refuses_streams_that_lack_what_it_needs",
}
"""Checks that do not depend on where a strategy runs."""

CASES = [
    pytest.param(
        plugin,
        check,
        id=f"{plugin.name}-{check.__name__}",
    )
    for plugin in plugins("strategy").values()
    for check in suite("strategy")
    if check.__name__ not in ON_CPU
]


@pytest.fixture(scope="module")
def rig_of() -> Callable[[Plugin], Rig]:
    """The same one for all checks of a plug-in, until the next comes."""
    return lru_cache(maxsize=1)(Rig)


@pytest.mark.parametrize(("plugin", "check"), CASES)
def test_contract(
    plugin: Plugin, check: Check, rig_of: Callable[[Plugin], Rig], device: torch.device
) -> None:
    finding = attempt(check, rig_of(replace(plugin, given=(("device", str(device)),))))
    assert finding.passed, finding.message
