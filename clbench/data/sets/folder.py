"""Your own images, resized, any number of classes and samples; from one folder per class.

Source and licence: yours. The images are in ``train/<class>/`` and ``test/<class>/``. Without
``test/``, ``data.split=0.2`` makes a test split; the class folders may then be in ``data.path``
itself. The classes, sorted by name, are the labels 0, 1, ... Images in deeper folders belong to the
class above them. Every raster format that Pillow reads is taken (PNG, JPEG, WebP, BMP, TIFF, GIF,
...) and turned upright as its EXIF orientation says; other files are left out and counted. The
decoded pixels of a JPEG file depend on the decoder, so the hash of such a data set can differ between
machines; that of PNG files does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from clbench import Arrays, UsageError
from clbench.data.files import require_path
from clbench.data.own import OwnData
from clbench.data.pictures import Tally, images_in
from clbench.data.pictures import decode as _decode
from clbench.data.shapes import suited_model
from clbench.data.splits import held_out, seeded_digest
from clbench.settings import AtLeast


@dataclass(frozen=True)
class Folder(OwnData):
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
        tally = Tally()
        train_folder, test_folder = self._folders()
        train = self._classes(train_folder, tally)
        names = tuple(train)
        if self.makes_split(self._root(), test_folder is not None):
            assert self.split is not None
            files = [file for files in train.values() for file in files]
            digests = [seeded_digest(file.read_bytes(), self.split_seed) for file in files]
            x, y = self._load(train, tally)
            chosen = held_out(self.split, y, digests, names)
            split = x[~chosen], y[~chosen], x[chosen], y[chosen]
        else:
            assert test_folder is not None
            test = self._classes(test_folder, tally)
            if tuple(test) != names:
                odd = sorted(set(names) ^ set(test))[0]
                raise UsageError(
                    f"{self.path}: class {odd!r} exists in only one of train/ and test/"
                )
            split = *self._load(train, tally), *self._load(test, tally)
        return Arrays(*split, len(names), 1 / 255, class_names=names, notes=tally.notes())

    def default_model(self) -> str:
        """Recommend a model by the shape that the settings give; reads names only."""
        train, test = self._folders()
        self._classes(train, Tally())
        self.makes_split(self._root(), test is not None)
        return suited_model(self._shape())

    def _shape(self) -> tuple[int, ...]:
        return (self.size, self.size) if self.gray else (3, self.size, self.size)

    def _root(self) -> Path:
        return require_path(self.path, "folder", "DIR with train/<class>/ and test/<class>/")

    def _folders(self) -> tuple[Path, Path | None]:
        """The training folder, and the test folder if there is one."""
        root = self._root()
        train, test = root / "train", root / "test"
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder; need train/<class>/ and test/<class>/")
        if not train.is_dir():
            if self.split is None or test.is_dir():
                raise UsageError(
                    f"{train}: no such folder; need train/<class>/ and test/<class>/ or, with "
                    "data.split=0.2, a folder for each class"
                )
            return root, None
        return train, test if test.is_dir() else None

    def _classes(self, folder: Path, tally: Tally) -> dict[str, list[Path]]:
        """Image files by class, both sorted by name."""
        root = self._root().resolve()
        classes = {}
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name.startswith("."):
                tally.hidden += 1
            elif entry.is_dir():
                classes[entry.name] = images_in(entry, root, tally)
            else:
                tally.loose += 1
        if not classes:
            raise UsageError(f"{folder}: no class folders; need {folder.name}/<class>/ with images")
        return classes

    def _load(self, classes: dict[str, list[Path]], tally: Tally) -> tuple[np.ndarray, np.ndarray]:
        labels = [label for label, files in enumerate(classes.values()) for _ in files]
        images = np.empty((len(labels), *self._shape()), dtype=np.uint8)
        for i, file in enumerate(file for files in classes.values() for file in files):
            images[i] = _decode(file, self.size, self.gray, tally)
        return images, np.array(labels, dtype=np.int64)
