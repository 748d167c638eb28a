"""Your own arrays, any shape, number of classes and samples; from a NumPy ``.npz`` file.

Samples are vectors, series, gray or colour images, and are told apart by the shape of the arrays.

Source and licence: yours. The file holds ``train_x``, ``train_y``, ``test_x``, ``test_y``; without
the last two, ``data.split=0.2`` makes a test split. An array of texts, ``class_names``, may name the
classes.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from clbench import Arrays, Pool, UsageError
from clbench.data.files import require_path
from clbench.data.own import OwnData
from clbench.data.pool import MAX_CLASSES
from clbench.data.shapes import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    channel_axis,
    is_series,
    suited_model,
)
from clbench.data.splits import held_out, seeded_digest
from clbench.util import archives

KEYS = ("train_x", "train_y", "test_x", "test_y")
TEST = {"test_x", "test_y"}
NAMES = "class_names"
SERIES = "series"


@dataclass(frozen=True)
class Npz(OwnData):
    """uint8 images or vectors (scaled by 1/255), or floats (cast to float32, not scaled)."""

    path: Path | None = None
    """The ``.npz`` file with train_x, train_y, test_x, test_y."""

    layout: Literal["auto", "channels_first", "channels_last", "series"] = "auto"
    """Meaning of the axes: channels_first is (n, C, H, W), channels_last (n, H, W, C), series (n, T) or
    (n, C, T); auto: what the shape says, and an error where it says several of the first or none. With
    auto, (n, C, T) are series where T is at least 8 C, else gray images (n, H, W), as with
    channels_first."""

    def arrays(self) -> Arrays:
        """Read and check the arrays; the number of classes is the largest label plus 1.

        Samples are ``(n, d)``, ``(n, C, T)``, ``(n, H, W)``, ``(n, C, H, W)`` or ``(n, H, W, C)``; they
        are returned with their channels first.

        Raises:
            UsageError: an array is missing or malformed; the file and the key are named.
        """
        file = require_path(self.path, "npz", "FILE.npz")
        made = self.makes_split(file, TEST & names_in(file) != set())
        parts = {key: _read(file, key) for key in KEYS if not (made and key in TEST)}
        n_classes = 1 + int(max(y.max() for key, y in parts.items() if key.endswith("_y")))
        names = _class_names(file, n_classes)
        if made:
            parts |= self._split(parts["train_x"], parts["train_y"], names)
        _compare(file, parts)
        notes: tuple[str, ...] = ()
        layout = self._layout(file, parts["train_x"].shape)
        if layout == SERIES and self.layout == "auto":
            channels, length = parts["train_x"].shape[1:]
            notes = (
                f"samples of shape {(channels, length)} are read as series of {channels} channels "
                f"(data.layout={CHANNELS_FIRST} if they are images)",
            )
        if layout == CHANNELS_LAST:
            notes = self._note(parts["train_x"].shape)
            for key in ("train_x", "test_x"):
                parts[key] = np.ascontiguousarray(parts[key].transpose(0, 3, 1, 2))
        scale = 1 / 255 if parts["train_x"].dtype == np.uint8 else 1.0
        train_x, train_y, test_x, test_y = (parts[key] for key in KEYS)
        return Arrays(
            train_x, train_y, test_x, test_y, n_classes, scale, class_names=names, notes=notes
        )

    def default_model(self) -> str:
        """Recommend a model by the shape of ``train_x``, which is read from the file's header."""
        file = require_path(self.path, "npz", "FILE.npz")
        shape = _peek(file, "train_x")
        layout = self._layout(file, shape)
        if layout == SERIES:
            return "conv1d"
        if layout == CHANNELS_LAST:
            shape = (shape[0], shape[3], shape[1], shape[2])
        gray = (1, *shape[1:]) if len(shape) == 3 else shape[1:]  # the user has said: no series
        return suited_model(gray)

    def resolved(self, pool: Pool) -> dict[str, object]:
        """Say how the arrays are read."""
        file = require_path(self.path, "npz", "FILE.npz")
        return {"layout": self._layout(file, _peek(file, "train_x"))}

    def holds_series(self) -> bool:
        """Say whether the arrays are read as series."""
        file = require_path(self.path, "npz", "FILE.npz")
        return self._layout(file, _peek(file, "train_x")) == SERIES

    def _split(self, x: np.ndarray, y: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        assert self.split is not None
        digests = [seeded_digest(np.ascontiguousarray(row).data, self.split_seed) for row in x]
        test = held_out(self.split, y, digests, names)
        return {"train_x": x[~test], "train_y": y[~test], "test_x": x[test], "test_y": y[test]}

    def _layout(self, file: Path, shape: tuple[int, ...]) -> str:
        if self.layout == SERIES and len(shape) == 4:
            raise UsageError(
                f"data.layout={SERIES}: {file} has samples of shape {shape[1:]}; it needs (T,) or "
                "(C, T)"
            )
        if self.layout == SERIES or (self.layout == "auto" and is_series(shape[1:])):
            return SERIES
        if len(shape) != 4:
            if self.layout == CHANNELS_LAST:
                raise UsageError(
                    f"data.layout={CHANNELS_LAST}: {file} has samples of shape {shape[1:]}; it needs "
                    "(H, W, C)"
                )
            return CHANNELS_FIRST
        found = channel_axis(shape[1:]) if self.layout == "auto" else self.layout
        if found is None:
            raise UsageError(
                f"{file}: samples of shape {shape[1:]} may have their channels first or last; set "
                f"data.layout={CHANNELS_FIRST} or data.layout={CHANNELS_LAST}"
            )
        return found

    def _note(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        if self.layout != "auto":
            return ()
        height, width, channels = shape[1:]
        return (
            f"samples of shape {shape[1:]} are read as {height}x{width} pixels of {channels} channels "
            f"(data.layout={CHANNELS_FIRST} if they are not)",
        )


def _read(file: Path, key: str) -> np.ndarray:
    """Read one of the arrays, checked and cast: uint8 or float32 samples, int64 labels, names."""
    _peek(file, key)  # a wrong shape or dtype is refused before anything large is read
    try:
        with np.load(file, allow_pickle=False) as archive:
            values: np.ndarray = archive[key]
    except archives.BROKEN as error:
        raise UsageError(f"{file}: {key} cannot be read ({archives.line(error)})") from error
    if key == NAMES:
        return values.astype(str)
    if key.endswith("_y"):
        if values.min() < 0 or values.max() >= MAX_CLASSES:
            raise UsageError(
                f"{file}: {key} has labels from {values.min()} to {values.max()}; number the classes "
                f"0..n-1, at most {MAX_CLASSES:,} of them"
            )
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
    names_in(file)
    try:
        found = archives.header(file, key)
    except archives.ArchiveError as error:
        raise UsageError(f"{file}: {key} is not a NumPy array ({error})") from error
    if found is None:
        raise UsageError(f"{file}: has no array {key}; needs {', '.join(KEYS)}")
    shape, dtype = found
    if key == NAMES:
        if dtype.kind not in "US" or len(shape) != 1:
            raise UsageError(f"{file}: {key} is {dtype} of shape {shape}; need texts (n,)")
    elif key.endswith("_y"):
        if dtype.kind not in "iu" or len(shape) != 1:
            raise UsageError(f"{file}: {key} is {dtype} of shape {shape}; need integers (n,)")
    elif (dtype != np.uint8 and dtype.kind != "f") or len(shape) not in (2, 3, 4):
        raise UsageError(
            f"{file}: {key} is {dtype} of shape {shape}; "
            "need uint8 or floats, (n, d), (n, C, T), (n, H, W), (n, C, H, W) or (n, H, W, C)"
        )
    if 0 in shape:
        raise UsageError(f"{file}: {key} is empty (shape {shape})")
    return tuple(shape)


def names_in(file: Path) -> set[str]:
    """The arrays' names in an ``.npz`` file.

    Raises:
        UsageError: the file is missing or not an ``.npz`` file.
    """
    if not file.is_file():
        kind = "no ordinary file" if os.path.lexists(file) else "no such file"
        raise UsageError(f"{file}: {kind}; set data.path to an .npz file")
    if not zipfile.is_zipfile(file):
        raise UsageError(f"{file}: not an .npz file (a zip); write it with numpy.savez")
    try:
        return {name.removesuffix(".npy") for name in archives.members(file)}
    except archives.ArchiveError as error:
        raise UsageError(f"{file}: {error}") from error


def _class_names(file: Path, n_classes: int) -> tuple[str, ...]:
    """The names of the classes, if the file has any."""
    if NAMES not in names_in(file):
        return ()
    names = tuple(_read(file, NAMES).tolist())
    if len(names) != n_classes:
        raise UsageError(
            f"{file}: {NAMES} has {len(names)} names, and the labels run up to {n_classes - 1}; need "
            "a name for each"
        )
    return names


def _compare(file: Path, parts: dict[str, np.ndarray]) -> None:
    """Refuse arrays that do not fit together."""
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
