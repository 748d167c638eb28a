"""Arrays that take long to make, kept on disk under the hash of their recipe.

One ``.npz`` file each, beside the latents in the cache's folder. It repeats the recipe; the archive
has checksums, so what is damaged is seen when read, and made anew.
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
    """What ``make`` returns, from the cache if it was made before; processes make it once.

    Args:
        kind: the subfolder.
        recipe: plain data that the arrays follow from.
        make: arrays by name, none of them called ``recipe``.

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
    """The arrays of a whole file of this recipe, else None."""
    try:
        # Opened here: np.load leaves the file open when it is not an archive.
        with path.open("rb") as whole, np.load(whole, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    said = arrays.pop(RECIPE, None)
    return arrays if said is not None and str(said) == recipe else None
