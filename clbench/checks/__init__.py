"""The contract suite over every plug-in, ours and others': ``clbench check path/to/mine.py``.

A suite is a list of small functions that all run; each returns, or says in one line what is wrong
and how to mend it. It needs nothing but what clbench itself needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence

from clbench.checks.finding import Check, Finding, NotApplicable, attempt
from clbench.checks.rig import Rig
from clbench.errors import UsageError
from clbench.plugins.registry import Plugin

SUITES = {
    "strategy": "clbench.checks.strategy",
    "scenario": "clbench.checks.scenario",
    "model": "clbench.checks.model",
    "encoder": "clbench.checks.encoder",
    "tracker": "clbench.checks.tracker",
}

ON_OWN_CODE = (
    "works_in_float64",
    "makes_tensors_on_the_device_of_its_data",
    "never_waits_for_the_device_in_its_inner_loop",
)
"""How a strategy is to be written, rather than what it does: not asked of another library's."""

__all__ = ["SUITES", "Check", "Finding", "Rig", "attempt", "check", "suite"]


def suite(group: str) -> Sequence[Check]:
    """The checks of a group of plug-ins, in the order they run.

    Raises:
        UsageError: the group has none.
    """
    if group not in SUITES:
        raise UsageError(f"check: no suite for {group}; there is one for {', '.join(SUITES)}")
    checks: Sequence[Check] = importlib.import_module(SUITES[group]).CHECKS
    return checks


def check(plugin: Plugin) -> Iterator[Finding]:
    """Run a plug-in through the suite of its group; a file that does not load ends it at once.

    Raises:
        UsageError: there is no suite for the group.
    """
    checks, rig = suite(plugin.group), Rig(plugin)
    loaded = attempt(loads, rig)
    yield loaded
    if loaded.passed:
        for one in checks:
            foreign = plugin.bridge is not None and one.__name__ in ON_OWN_CODE
            yield attempt(_of_a_library(one) if foreign else one, rig)


def _of_a_library(check: Check) -> Check:
    def skipped(rig: Rig) -> None:
        raise NotApplicable("it is written in another library")

    skipped.__name__ = check.__name__
    return skipped


def loads(rig: Rig) -> None:
    """The file imports and defines exactly one plug-in class."""
    rig.plugin.load()
