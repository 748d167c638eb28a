"""The tutorials: executed in a clean folder, and compared with what they show.

``python tests/notebooks.py`` writes their outputs anew (needs the extra notebooks). Numbers may be off
by a twentieth and a few pixels may differ, so that another machine agrees; words may not differ.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
PAGES = sorted(FOLDER.glob("*.ipynb"))
STRICT = "import warnings\n\nwarnings.filterwarnings('error')"
LENIENT = "warnings.resetwarnings()"
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
NEAR = 0.05
"""How far numbers may be apart: absolutely below 1, relatively above."""
FEW = 0.02
"""Share of a picture's pixels that may differ by a quarter of the range."""
VARIES = "varies"
"""The tag of a cell that shows times: only the kinds of its outputs are compared."""
Notebook = dict[str, Any]


def read(path: Path) -> Notebook:
    found: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return found


def code(notebook: Notebook) -> list[dict[str, Any]]:
    """Its cells of code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def executed(notebook: Notebook, folder: Path) -> Notebook:
    """The notebook with the outputs that its cells have in a folder, warnings being errors.

    Raises:
        CellExecutionError: a cell fails.
    """
    import nbclient
    import nbformat

    made = nbformat.reads(json.dumps(notebook), as_version=4)
    first, last = (nbformat.v4.new_code_cell(text) for text in (STRICT, LENIENT))  # type: ignore[no-untyped-call]
    made.cells = [first, *made.cells, last]
    about = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(made, timeout=600, kernel_name="python3", resources=about).execute()
    made.cells = made.cells[1:-1]
    for number, cell in enumerate(code(made), 1):
        cell["execution_count"] = number
        cell["metadata"].pop("execution", None)
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = number
    return json.loads(nbformat.writes(made))  # type: ignore[no-untyped-call, no-any-return]


def texts(output: dict[str, Any]) -> dict[str, str]:
    """What an output says, by kind; pictures are base64."""
    if output["output_type"] == "stream":
        return {f"stream/{output['name']}": "".join(output["text"])}
    if output["output_type"] == "error":
        return {"error": output["ename"]}
    return {kind: "".join(text) for kind, text in output["data"].items()}


def pictures(notebook: Notebook) -> list[bytes]:
    """All its PNGs."""
    found = [texts(output) for cell in code(notebook) for output in cell["outputs"]]
    return [base64.b64decode(one["image/png"]) for one in found if "image/png" in one]


def differences(shown: Notebook, found: Notebook) -> Iterator[str]:
    """What a notebook shows that its code does not give, a line each."""
    for number, (old, new) in enumerate(zip(code(shown), code(found), strict=True), 1):
        before, after = ([texts(output) for output in cell["outputs"]] for cell in (old, new))
        if [[*one] for one in before] != [[*one] for one in after]:
            yield f"cell {number}: other kinds of output"
            continue
        if VARIES in old["metadata"].get("tags", ()):
            continue
        for one, other in zip(before, after, strict=True):
            for kind in one:
                equal = same_picture if kind == "image/png" else same_text
                if not equal(one[kind], other[kind]):
                    yield f"cell {number}: {kind}: {one[kind][:300]!r} is now {other[kind][:300]!r}"


def same_text(one: str, other: str) -> bool:
    """Whether words are equal and numbers near; the width of columns does not matter."""
    words = [re.sub(r"\s+", " ", NUMBER.sub("#", text)) for text in (one, other)]
    if words[0] != words[1]:
        return False
    values = (map(float, NUMBER.findall(text)) for text in (one, other))
    return all(abs(a - b) <= NEAR * max(1.0, abs(a)) for a, b in zip(*values, strict=True))


def same_picture(one: str, other: str) -> bool:
    """Whether two PNGs in base64 show the same."""
    found = []
    for text in (one, other):
        image = Image.open(io.BytesIO(base64.b64decode(text))).convert("L")
        found.append(np.asarray(image.resize((300, 200)), dtype=float))
    return float(np.mean(np.abs(found[0] - found[1]) > 64)) <= FEW


def main() -> None:
    """Write the outputs of all tutorials anew."""
    for path in PAGES:
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(read(path), Path(folder))
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
