"""A cache on disk of arrays that take long to compute, under the hash of their recipe.

Each is one ``.npz`` file, beside the latents in the cache's folder. The file repeats the recipe and
has a digest, so a damaged file is noticed when it is read, and made anew.
"""

from __future__ import annotations

import hashlib
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

RECIPE, DIGEST = "recipe", "sha256"


def fetch(
    kind: str, recipe: Mapping[str, Any], make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return what ``make`` returns, from the cache if possible; concurrent processes compute it once.

    Args:
        kind: the subfolder.
        recipe: plain data that determine the arrays.
        make: computes the arrays by name; no name may be ``recipe`` or ``sha256``.

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
                parts: dict[str, Any] = {RECIPE: np.array(text), DIGEST: _digest(found), **found}
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
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
    said, digest = str(arrays.pop(RECIPE, None)), str(arrays.pop(DIGEST, None))
    return arrays if said == recipe and digest == str(_digest(arrays)) else None


def _digest(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """SHA-256 over names, dtypes, shapes and values: an archive's own checksums leave names out."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {arrays[name].shape}\n".encode() + array.tobytes())
    return np.array(digest.hexdigest())
