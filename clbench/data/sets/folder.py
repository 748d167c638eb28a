"""Your own images, resized, any number of classes and samples; from one folder per class.

Source and licence: yours. ``train/<class>/*.png|jpg`` and ``test/<class>/*.png|jpg``; the classes,
sorted by name, are the labels 0, 1, ... The decoded pixels of a JPEG file depend on the decoder, so
the hash of such a data set can differ between machines; that of PNG files does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from clbench import Arrays, DataSet, UsageError
from clbench.data.files import require_path
from clbench.data.shapes import suited_model
from clbench.settings import AtLeast

SUFFIXES = {".png", ".jpg", ".jpeg"}
EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


@dataclass(frozen=True)
class Folder(DataSet):
    """Images resized to squares, (3, size, size) or (size, size) uint8, alpha dropped."""

    path: Path | None = None
    """Folder that holds train/<class>/ and test/<class>/."""

    size: Annotated[int, AtLeast(1)] = 32
    """Side in pixels that every image is resized to (bilinear; the aspect ratio is not kept)."""

    gray: bool = False
    """Convert images to gray, shape (size, size); false: colour, shape (3, size, size)."""

    def arrays(self) -> Arrays:
        """Decode and resize every image.

        Raises:
            UsageError: a folder or file is missing, empty, outside the folder or no image; it is named.
        """
        train, test = self._split("train"), self._split("test")
        if list(train) != list(test):
            odd = sorted(set(train) ^ set(test))[0]
            raise UsageError(f"{self.path}: class {odd!r} exists in only one of train/ and test/")
        train_x, train_y = self._load(train)
        test_x, test_y = self._load(test)
        return Arrays(train_x, train_y, test_x, test_y, len(train), 1 / 255)

    def default_model(self) -> str:
        """Recommend a model by the shape that the settings give; reads names only."""
        self._split("train")
        return suited_model(self._shape())

    def _shape(self) -> tuple[int, ...]:
        return (self.size, self.size) if self.gray else (3, self.size, self.size)

    def _split(self, split: Literal["train", "test"]) -> dict[str, list[Path]]:
        """Image files by class, both sorted by name."""
        root = require_path(self.path, "folder", "DIR with train/<class>/ and test/<class>/")
        folder = root / split
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; need {split}/<class>/*.png or *.jpg")
        classes = {
            entry.name: _images(entry, root.resolve())
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
            if entry.is_dir() and not entry.name.startswith(".")
        }
        if not classes:
            raise UsageError(f"{folder}: no class folders; need {split}/<class>/*.png or *.jpg")
        return classes

    def _load(self, classes: dict[str, list[Path]]) -> tuple[np.ndarray, np.ndarray]:
        labels = [label for label, files in enumerate(classes.values()) for _ in files]
        images = np.empty((len(labels), *self._shape()), dtype=np.uint8)
        for i, file in enumerate(file for files in classes.values() for file in files):
            images[i] = _decode(file, self.size, self.gray)
        return images, np.array(labels, dtype=np.int64)


def _images(folder: Path, root: Path) -> list[Path]:
    """The image files of a class, sorted by name; none may be a link out of ``root``."""
    visible = (f for f in folder.iterdir() if not f.name.startswith("."))
    files = sorted((f for f in visible if f.suffix.lower() in SUFFIXES), key=lambda f: f.name)
    if not files:
        raise UsageError(f"{folder}: holds no .png or .jpg files; add some or remove the folder")
    for file in files:
        if not file.resolve().is_relative_to(root):
            raise UsageError(f"{file}: is a link out of data.path; put the file itself there")
    return files


def _decode(file: Path, size: int, gray: bool) -> np.ndarray:
    """``(size, size)`` or ``(3, size, size)`` uint8."""
    from PIL import Image

    try:
        with Image.open(file, formats=("PNG", "JPEG")) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise UsageError(f"{file}: mode {image.mode}; convert it to 8 bits per channel")
            converted = image.convert("L" if gray else "RGB")
        pixels = np.asarray(converted.resize((size, size), Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"{file}: not a readable PNG or JPEG image") from error
    return pixels if gray else pixels.transpose(2, 0, 1)
