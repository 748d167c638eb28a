"""Tests that need an accelerator, ``pytest -m gpu tests/gpu``; skipped where there is none."""

from __future__ import annotations

import os

import pytest
import torch

VARIABLE = "CLBENCH_TEST_DEVICE"
"""A device to run them on instead of ``cuda``; ``cpu`` tries the tests themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of them, and skip them without a GPU."""
    here = os.path.dirname(__file__)
    missing = pytest.mark.skip(reason="no GPU: torch.cuda.is_available() is false")
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.gpu)
            if VARIABLE not in os.environ and not torch.cuda.is_available():
                item.add_marker(missing)


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device under test."""
    return torch.device(os.environ.get(VARIABLE, "cuda"))
