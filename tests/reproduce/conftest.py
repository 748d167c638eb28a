"""A shelf with one small reproduction over blobs in an npz file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small import write_npz

YAML = """title: Blobs
source:
  paper: Nobody 2026
  where: table 1
  url: https://example.org/paper
protocol: Two tasks.
words: [scenario=class_incremental, data=npz, "data.path={npz}", model=mlp, "model.hidden=[8]"]
seeds: 2
tolerance: 100
needs: {{data: nothing, hours: 0.1}}
deviates: [Everything.]
small:
  words: [strategy.epochs=2]
  seeds: 1
  note: Two passes are few.
rows:
  - name: naive
    words: [strategy=naive]
    published: {{mean: 50.0, spread: 1.0, spread_is: sd, seeds: 3}}
  - name: far
    words: [strategy=naive, strategy.lr=0.05]
    published: {{mean: 0.0, origin: figure}}
    tolerance: 0
  - name: half
    words: [strategy=naive]
    published: {{mean: 99.0}}
    after: 1
    over: naive
  - name: icarl
    published: {{mean: 94.57}}
    missing: no strategy icarl
"""


@pytest.fixture(scope="session")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture
def shelf(tmp_path: Path, npz: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Go to a folder that looks like a checkout; each call writes the file, with words replaced."""
    monkeypatch.chdir(tmp_path)

    def write(*replaced: tuple[str, str]) -> Path:
        text = YAML.format(npz=npz)
        for before, after in replaced:
            assert before in text
            text = text.replace(before, after)
        for name in ("reproductions", "docs"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "reproductions" / "blobs.yaml").write_text(text)
        return tmp_path

    write()
    return write
