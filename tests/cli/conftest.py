"""A data set in a file for runs from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import write_npz


@pytest.fixture(scope="session")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A curve takes longer to draw than these runs take; tests/test_execute.py draws it."""
    monkeypatch.setattr(
        "clbench.results.plots.save_curve", lambda records, path: path.write_bytes(b"png")
    )
