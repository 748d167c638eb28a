"""Every hostile input is refused in one line, within 2 seconds and 500 MB more than harmless input."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import hostile, measuring

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.name != "posix", reason="pipes, devices and links of POSIX systems"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> measuring.Measured:
    found = measuring.harmless(tmp_path_factory.mktemp("harmless"))
    assert found.code == 0, found.err
    return found


@pytest.mark.parametrize("case", hostile.CASES, ids=lambda case: case.name)
def test_it_is_refused_before_it_costs(
    case: hostile.Case, base: measuring.Measured, tmp_path: Path
) -> None:
    found = measuring.measured(case.make(tmp_path), tmp_path)
    assert measuring.faults(found, base) == []


def test_the_list_is_long() -> None:
    assert len({case.name for case in hostile.CASES}) == len(hostile.CASES) >= 60
