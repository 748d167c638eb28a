"""Shows a notebook as a page: its text, its code, and what its code printed and drew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def page(path: Path) -> str:
    """The Markdown of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _cell(cell)) + "\n"


def _cell(cell: Any) -> Iterator[str]:
    text = "".join(cell["source"]).strip("\n")
    if cell["cell_type"] == "markdown":
        yield text
    elif cell["cell_type"] == "code" and text:
        yield f"```python\n{text}\n```"
        for output in cell.get("outputs", ()):
            yield from _output(output)


def _output(output: Any) -> Iterator[str]:
    data = output.get("data", {})
    if "image/png" in data:
        image = "".join(data["image/png"]).replace("\n", "")
        yield f'<img alt="What the cell above draws" src="data:image/png;base64,{image}">'
        return
    text = "".join(output.get("text", data.get("text/plain", ""))).strip("\n")
    if text:
        yield f"```text\n{text}\n```"
