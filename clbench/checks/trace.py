"""Where in a plug-in's file something is being called from."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def calling_line(path: Path) -> str:
    """``mine.py line 12``: the innermost running line of a file, else of clbench itself."""
    frame = sys._getframe(1)
    ours = ""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file == path:
            return f"{path.name} line {frame.f_lineno}"
        if not ours and file.is_relative_to(PACKAGE) and file.parent.name != "checks":
            ours = f"clbench/{file.relative_to(PACKAGE).as_posix()} line {frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ours or "line unknown"
