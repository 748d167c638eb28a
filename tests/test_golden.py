"""No change alters what a plug-in answers unless a version is raised."""

from __future__ import annotations

import json

import pytest
from golden import FILE, cases, counts

GOLDEN = json.loads(FILE.read_text())
CASES = cases()
pytestmark = pytest.mark.usefixtures("shared_cache")


def test_every_case_has_its_counts() -> None:
    assert set(GOLDEN) == set(CASES), "python tests/golden.py NAME adds the counts of a new plug-in"


SLOW = ("model/resnet18", "model/resnet32/", "model/slim_resnet18/", "model/conv1d/")
"""``resnet18`` takes half a minute; ``slim_resnet18`` has the same blocks and stays in the quick run.
Of the others only the settings are slow: each takes over a second, and small models have them too."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * n.startswith(SLOW)) for n in CASES]
)
def test_answers_are_those_of_before(name: str) -> None:
    found = counts(CASES[name])
    assert found == GOLDEN[name], (
        f"{name} gives other answers than before: undo what changed them, or raise the version "
        "(RESULTS_VERSION, or results_version of the base) and write golden.json anew"
    )
