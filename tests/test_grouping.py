"""Tests that share something are in one group; all others are alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from grouping import group_of

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("tests/test_contract.py::test_contract[strategy-er-a]",) * 2 + (True,),
        (
            "tests/test_contract.py::test_contract[strategy-er-learns_above_chance]",
            "tests/test_contract.py::test_contract[strategy-er-works_in_float64]",
            True,
        ),
        (
            "tests/test_contract.py::test_contract[strategy-er-works_in_float64]",
            "tests/test_contract.py::test_contract[strategy-er_ace-works_in_float64]",
            False,
        ),
        (
            "tests/leaderboard/test_freeze.py::test_a[protocol]",
            "tests/leaderboard/test_freeze.py::test_b",
            True,
        ),
        ("tests/test_api.py::test_a[1]", "tests/test_api.py::test_a[2]", False),
    ],
)
def test_what_shares_is_together(one: str, other: str, same: bool) -> None:
    assert (group_of(one) == group_of(other)) is same


def test_every_file_of_tests_can_be_collected():
    """Of two files with one name outside packages the second is refused."""
    loose = [
        path.name for path in TESTS.rglob("test_*.py") if not (path.parent / "__init__.py").exists()
    ]
    assert [name for name, n in Counter(loose).items() if n > 1] == []
