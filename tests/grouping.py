"""Which tests one process has, because they share what they train or freeze.

The marks of pytest-xdist 3.8 name groups by changing the tests' ids, which pytest 9.2 no longer lets
it do, so that each process trained everything again.
"""

from __future__ import annotations

import re

GROUPS = (
    r"(.*::test_contract\[[^-]+-[^-]+)-",  # all checks of a plug-in, in one precision
    r"(tests/leaderboard/test_(?:attacks|freeze|isolate)\.py)::",  # one board, one spied process
    r"(tests/strategies/test_kanerva\.py::test_replay_passes_the_contract)\[",
)


def group_of(nodeid: str) -> str:
    """The group of a test, or itself where it shares nothing."""
    for pattern in GROUPS:
        found = re.match(pattern, nodeid)
        if found:
            return found[1]
    return nodeid
