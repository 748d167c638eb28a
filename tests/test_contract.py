"""The contract suite over every built-in plug-in; a new file is picked up by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest

from clbench.checks import SUITES, Check, Rig, attempt, suite
from clbench.checks.strategy_rows import learns_from_data_larger_than_memory
from clbench.plugins.registry import Plugin, plugins

PROMPTED = (("model", "vit_tiny"), ("model.tune", "head"), ("lr", "0.03"), ("epochs", "2"))
SMALL = {
    "coda_prompt": PROMPTED,
    "dualprompt": PROMPTED,
    "inflora": PROMPTED,
    "l2p": PROMPTED,
    "wrn": (("depth", "10"), ("width", "1")),
    "redo": (("reset_period", "7"),),
    "podnet": (("finetune_epochs", "1"), ("memory_size", "60")),
    "gdumb": (("memory_epochs", "5"),),
    "generative_replay": (("generator_width", "64"), ("generator_updates", "2")),
    "kanerva_pp": (("generator_width", "32"), ("generator_updates", "1"), ("memory_side", "8")),
    "condensed_replay": (("networks", "1"), ("steps", "2"), ("network_steps", "1")),
    "dkvb": (("codebooks", "16"), ("keys", "64")),
    "expansion": (("memory_size", "60"),),
    "bic": (("memory_size", "60"),),
}
"""Settings of plug-ins that are large, train for long, or do nothing in so short a run; and the model
of those that need one of a kind."""

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
