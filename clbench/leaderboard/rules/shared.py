"""S1 of the folder ``sources``: every file there is named by its content, and by an entry."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from clbench.leaderboard import shared
from clbench.leaderboard.rules.findings import Finding, error
from clbench.leaderboard.rules.structure import shared_fault

NAME = re.compile(r"[0-9a-f]{64}\.py")


def validate_sources(root: Path) -> Iterator[Finding]:
    """Yield all findings about the shared sources of a folder of boards."""
    folder = root / "sources"
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        yield error("S1", "sources", "is a link or file: it must be a folder of sources")
        return
    try:
        used = set(shared.named(root))
    except Exception:  # a finding of that entry; what it names is unknown
        used = None
    for name in sorted(os.listdir(folder)):
        file = f"sources/{name}"
        if name == "__pycache__":  # Python's own, where a source was run
            continue
        if not NAME.fullmatch(name):
            wrong = "does not belong here: remove it (<sha256>.py, which clbench submit writes)"
            yield error("S1", file, wrong)
            continue
        try:
            fault = shared_fault(folder / name)
        except OSError as why:
            fault = f"cannot be read ({why.strerror})"
        if fault:
            yield error("S1", file, f"{fault}: restore it")
        elif used is not None and name.removesuffix(".py") not in used:
            yield error("S1", file, "is named by no entry: remove it")
