"""Fixtures of the studies' tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no pictures: a curve takes longer to draw than these runs take."""
    save = "clbench.results.plots.save_curve"
    monkeypatch.setattr(save, lambda records, path: Path(path).write_bytes(b"png"))
