"""What forgeries have in common: records that are consistent in themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tiny import agree, edit

from clbench.engine.assemble import with_metrics
from clbench.results.record import Record
from clbench.util import seal


def each_record(
    entry: Path, change: Callable[[dict[str, Any]], Any], but: int | None = None
) -> None:
    """Change all records of an entry, or all but one seed's."""
    for path in sorted((entry / "runs").iterdir()):
        if path.name != f"seed{but}.json":
            edit(path, change)


def claim_right(data: dict[str, Any], share: float) -> None:
    """Let a record claim this share of right answers at every evaluation but the first."""
    cells = data["counts"]["cells"]
    for row in data["counts"]["correct"][1:]:
        row[:] = [int(share * cell["size"]) for cell in cells]
    agree(data)
    plain = {key: value for key, value in data.items() if key != seal.KEY}
    record = Record(**plain)
    fresh = with_metrics(record, record.to_counts())
    for name in ("metrics", "retention", "frequency"):
        data[name] = getattr(fresh, name)


def replace_source(entry: Path, more: str) -> None:
    """Let an entry name a longer source, under its own hash."""
    path = entry / "entry.yaml"
    data = yaml.safe_load(path.read_text())
    sources = entry.parents[2] / "sources"
    text = (sources / f"{data['sources']['strategy']}.py").read_text() + more
    sha = hashlib.sha256(text.encode()).hexdigest()
    (sources / f"{sha}.py").write_text(text)
    data["sources"]["strategy"] = sha
    path.write_text(yaml.safe_dump(data))
