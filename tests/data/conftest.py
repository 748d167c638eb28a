"""Images on disk that are decoded in blocks of seven."""

from __future__ import annotations

from pathlib import Path

import pytest
from mapping import write_images

from clbench.data import decoded


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "BLOCK_BYTES", 3 * 8 * 8 * 7)
