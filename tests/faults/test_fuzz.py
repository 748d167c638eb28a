"""Random changes of words and files, in small; ``python -m tests.faults.fuzz`` is the long form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import fuzz

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.name != "posix", reason="memory as POSIX systems tell it"),
]


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_whatever_is_given_is_run_or_refused_in_one_line(kind: str, tmp_path: Path):
    found = fuzz.fuzz(kind, 200, tmp_path, seed=1)
    assert found.faults == []
    assert found.run > 0, "nothing is accepted: the cases are all alike"
