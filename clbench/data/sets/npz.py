"""Your own arrays, any shape, number of classes and samples; from a NumPy ``.npz`` file.

Source and licence: yours. The file holds ``train_x``, ``train_y``, ``test_x``, ``test_y``.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clbench import Arrays, DataSet, UsageError
from clbench.data.files import require_path
from clbench.data.shapes import suited_model

KEYS = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True)
class Npz(DataSet):
    """uint8 images or vectors (scaled by 1/255), or floats (cast to float32, not scaled)."""

    path: Path | None = None
    """The ``.npz`` file with train_x, train_y, test_x, test_y."""

    def arrays(self) -> Arrays:
        """Read and check the four arrays; the number of classes is the largest label plus 1.

        Samples are ``(n, d)``, ``(n, H, W)`` or ``(n, C, H, W)``.

        Raises:
            UsageError: an array is missing or malformed; the file and the key are named.
        """
        file = require_path(self.path, "npz", "FILE.npz")
        parts = {key: _read(file, key) for key in KEYS}
        for key in ("train", "test"):
            if len(parts[f"{key}_x"]) != len(parts[f"{key}_y"]):
                raise UsageError(
                    f"{file}: {key}_x has {len(parts[f'{key}_x'])} samples, "
                    f"{key}_y {len(parts[f'{key}_y'])} labels; need as many"
                )
        if parts["train_x"].dtype != parts["test_x"].dtype:
            raise UsageError(
                f"{file}: train_x is {parts['train_x'].dtype} and test_x {parts['test_x'].dtype}; "
                "store both as uint8 or both as floats"
            )
        if parts["train_x"].shape[1:] != parts["test_x"].shape[1:]:
            raise UsageError(
                f"{file}: samples of train_x have shape {parts['train_x'].shape[1:]}, "
                f"of test_x {parts['test_x'].shape[1:]}; need one shape"
            )
        n_classes = 1 + int(max(parts["train_y"].max(), parts["test_y"].max()))
        scale = 1 / 255 if parts["train_x"].dtype == np.uint8 else 1.0
        train_x, train_y, test_x, test_y = (parts[key] for key in KEYS)
        return Arrays(train_x, train_y, test_x, test_y, n_classes=n_classes, scale=scale)

    def default_model(self) -> str:
        """Recommend a model by the shape of ``train_x``, which is read from the file's header."""
        file = require_path(self.path, "npz", "FILE.npz")
        return suited_model(_peek(file, "train_x")[1:])


def _read(file: Path, key: str) -> np.ndarray:
    """Read one of the four arrays, checked and cast: uint8 or float32 samples, int64 labels."""
    _peek(file, key)  # a wrong shape or dtype is refused before anything large is read
    try:
        with np.load(file, allow_pickle=False) as archive:
            values: np.ndarray = archive[key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{file}: {key} cannot be read ({_line(error)})") from error
    if key.endswith("_y"):
        if values.min() < 0 or values.max() > np.iinfo(np.int32).max:
            raise UsageError(f"{file}: {key} runs from {values.min()} to {values.max()}; need >= 0")
        return values.astype(np.int64)
    if values.dtype == np.uint8:
        return values
    with np.errstate(over="ignore"):  # an overflow becomes infinite and is refused below
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise UsageError(f"{file}: {key} holds NaN, infinite or, for float32, too large values")
    return values


def _peek(file: Path, key: str) -> tuple[int, ...]:
    """Read and check the shape of an array from its header."""
    if not file.is_file():
        raise UsageError(f"{file}: no such file; set data.path to an .npz file")
    if not zipfile.is_zipfile(file):
        raise UsageError(f"{file}: not an .npz file (a zip); write it with numpy.savez")
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{key}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    except KeyError as error:
        raise UsageError(f"{file}: has no array {key}; needs {', '.join(KEYS)}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{file}: {key} is not a NumPy array ({_line(error)})") from error
    if key.endswith("_y"):
        if dtype.kind not in "iu" or len(shape) != 1:
            raise UsageError(f"{file}: {key} is {dtype} of shape {shape}; need integers (n,)")
    elif (dtype != np.uint8 and dtype.kind != "f") or len(shape) not in (2, 3, 4):
        raise UsageError(
            f"{file}: {key} is {dtype} of shape {shape}; "
            "need uint8 or floats, (n, d), (n, H, W) or (n, C, H, W)"
        )
    if 0 in shape:
        raise UsageError(f"{file}: {key} is empty (shape {shape})")
    return tuple(shape)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
