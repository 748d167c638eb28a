"""Files of images with their attributes, in the layout of Synbols' releases."""

from __future__ import annotations

import importlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clbench.data.synbols.generator import Generator
from clbench.errors import UsageError
from clbench.util.atomic import write_atomically

CHUNK = 1024
SUFFIXES = (".npz", ".h5", ".h5py")


def check_suffix(path: Path) -> None:
    """Check that the format can be written.

    Raises:
        UsageError: the suffix is unknown, or h5py is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")
    if path.suffix != ".npz":
        try:
            importlib.import_module("h5py")
        except ImportError as error:
            raise UsageError(
                f"{path}: {path.suffix} needs h5py (pip install h5py); .npz does not"
            ) from error


def make(
    generator: Generator, n: int, report: Callable[[int], None] = lambda done: None
) -> dict[str, np.ndarray]:
    """Make images ``0..n-1``: ``x`` ``(n, H, W, C)`` and ``mask`` ``(n, H, W, S)`` uint8, ``y`` JSON.

    A mask covers one whole shape, also its hidden part; ``y`` has a line of JSON for each image.
    """
    x, masks, y = [], [], []
    for start in range(0, n, CHUNK):
        attributes = generator.attributes(np.arange(start, min(start + CHUNK, n)))
        images = generator.renderer.images(attributes).cpu().numpy()
        x.append(images[..., None] if images.ndim == 3 else images.transpose(0, 2, 3, 1))
        masks.append(generator.renderer.masks(attributes).cpu().numpy().transpose(0, 2, 3, 1))
        y += [json.dumps(row) for row in attributes.records(generator.atlas)]
        report(len(y))
    return {"x": np.concatenate(x), "mask": np.concatenate(masks), "y": np.array(y)}


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays of ``make`` atomically, in the format of the suffix."""
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        parts: dict[str, Any] = dict(arrays)
        np.savez_compressed(buffer, **parts)
        write_atomically(path, buffer.getvalue())
        return
    h5py = importlib.import_module("h5py")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with h5py.File(part, "w") as file:
            for name in ("x", "mask"):
                chunk = (min(10, len(arrays[name])), *arrays[name].shape[1:])
                file.create_dataset(name, data=arrays[name], chunks=chunk, compression="gzip")
            file.create_dataset("y", data=arrays["y"].tolist(), dtype=h5py.string_dtype())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
