"""A cache on disk of arrays that take long to compute, under the hash of their recipe.

Each is one ``.npz`` file, beside the latents in the cache's folder. The file repeats the recipe. The
archive has checksums, so a damaged file is detected when read, and rewritten.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from clbench.data.latent_cache import home, key_of
from clbench.errors import ClbenchError
from clbench.util.atomic import write_atomically

RECIPE = "recipe"


def fetch(
    kind: str, recipe: Mapping[str, Any], make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return what ``make`` returns, from the cache if possible; concurrent processes compute it once.

    Args:
        kind: the subfolder.
        recipe: plain data that determine the arrays.
        make: computes the arrays by name; no name may be ``recipe``.

    Raises:
        ClbenchError: the cache cannot be written.
    """
    text = json.dumps(recipe, sort_keys=True)
    path = home() / kind / f"{key_of(recipe)}.npz"
    found = _read(path, text)
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / f".{path.name}.lock"):
            found = _read(path, text)
            if found is None:
                found = make()
                buffer = io.BytesIO()
                parts: dict[str, Any] = {RECIPE: np.array(text), **found}
                np.savez(buffer, **parts)
                write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise ClbenchError(f"cannot write the cache {path.parent}: {error.strerror}") from error
    return found


def _read(path: Path, recipe: str) -> dict[str, np.ndarray] | None:
    """Read the arrays of this recipe; None if the file is missing, damaged or another recipe's."""
    try:
        # Opened here, because np.load leaves a file that is no archive open.
        with path.open("rb") as whole, np.load(whole, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    said = arrays.pop(RECIPE, None)
    return arrays if said is not None and str(said) == recipe else None
