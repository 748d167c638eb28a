"""The contract of strategies where their networks compute in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from plugin_settings import SMALL

from clbench.checks import Check, Rig, attempt
from clbench.checks.strategy import (
    learns_above_chance,
    works_with_a_single_sample,
)
from clbench.checks.strategy_device import never_waits_for_the_device_in_its_inner_loop
from clbench.checks.strategy_state import (
    continues_bit_for_bit_in_a_new_process,
    gives_the_same_bits_for_the_same_seed,
    keeps_its_state_in_tensors_of_constant_size,
)
from clbench.checks.trials import fitting, make_run
from clbench.errors import UsageError
from clbench.plugins.registry import Plugin, plugins

FAMILIES = ("naive", "er", "ewc")
"""One strategy of each base; the others run with the slow tests."""
CHECKS = (
    learns_above_chance,
    works_with_a_single_sample,
    continues_bit_for_bit_in_a_new_process,
    gives_the_same_bits_for_the_same_seed,
    keeps_its_state_in_tensors_of_constant_size,
    never_waits_for_the_device_in_its_inner_loop,
)


def case(plugin: Plugin, check: Check, precision: str) -> object:
    settings = (*SMALL.get(plugin.name, ()), ("precision", precision))
    given = replace(plugin, given=settings)
    marks = [] if plugin.name in FAMILIES else [pytest.mark.slow]
    return pytest.param(given, check, id=f"{precision}-{plugin.name}-{check.__name__}", marks=marks)


CASES = [case(p, check, "bf16") for p in plugins("strategy").values() for check in CHECKS]
CASES += [case(plugins("strategy")["naive"], check, "fp16") for check in CHECKS]


@pytest.fixture(scope="module")
def rig_of() -> Callable[[Plugin], Rig]:
    """The same one for all checks of a plug-in, until the next comes."""
    return lru_cache(maxsize=1)(Rig)


def has_network(plugin: Plugin) -> bool:
    try:
        make_run(plugin, fitting(plugin)[0].stream).strategy()
    except UsageError as error:
        assert "learns with no network" in str(error)  # noqa: PT017 - it is how the others are told
        return False
    return True


@pytest.mark.parametrize(("plugin", "check"), CASES)
def test_contract(plugin: Plugin, check: Check, rig_of: Callable[[Plugin], Rig]) -> None:
    if not has_network(plugin):
        pytest.skip("it learns with no network")
    finding = attempt(check, rig_of(plugin))
    assert finding.passed, finding.message


def test_the_checks_are_of_the_precision():
    plugin = replace(plugins("strategy")["naive"], given=(("precision", "bf16"),))
    trial = fitting(plugin)[0]
    x = trial.stream.world().x
    half, whole = (
        make_run(p, trial.stream).strategy() for p in (plugin, plugins("strategy")["naive"])
    )
    assert torch.equal(half.weights, whole.weights)  # type: ignore[arg-type]
    assert not torch.equal(half(x), whole(x))
