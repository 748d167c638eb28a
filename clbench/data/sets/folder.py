"""Your own images, resized, any number of classes and samples; from one folder per class.

Source and licence: yours. The images are in ``train/<class>/`` and ``test/<class>/``. Without
``test/``, ``val/<class>/`` is taken in its place, or ``data.split=0.2`` makes a test split; the class
folders may then be in ``data.path`` itself, as those of ImageNet-R are. Tiny-ImageNet's folder is read
as it is: its test split is ``val/`` with ``val_annotations.txt``, because its own has no labels. The
classes, sorted by name, are the labels 0, 1, ... Images in deeper folders belong to the class above
them. Every raster format that Pillow reads is taken (PNG, JPEG, WebP, BMP, TIFF, GIF, ...) and turned
upright as its EXIF orientation says; other files are left out and counted. The decoded pixels of a
JPEG file depend on the decoder, so the hash of such a data set can differ between machines; that of
PNG files does not.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from clbench import UsageError
from clbench.data.decoded import Listing
from clbench.data.files import require_path
from clbench.data.images import ImageData
from clbench.data.pictures import Tally, images_in
from clbench.data.pictures import decode as _decode
from clbench.data.shapes import suited_model
from clbench.settings import AtLeast
from clbench.util.files import FileError, read_text

ANNOTATIONS = "val_annotations.txt"
"""Of Tiny-ImageNet: the file's name, its class and a box, separated by tabs."""
Files = dict[str, list[Path]]
"""Image files by class, both sorted by name."""


@dataclass(frozen=True)
class Folder(ImageData):
    """Images resized to squares, (3, size, size) or (size, size) uint8, alpha dropped."""

    path: Path | None = None
    """Folder that holds train/<class>/ and test/<class>/."""

    size: Annotated[int, AtLeast(1)] = 32
    """Side in pixels that every image is resized to (bilinear; the aspect ratio is not kept)."""

    gray: bool = False
    """Convert images to gray, shape (size, size); false: colour, shape (3, size, size)."""

    def listing(self) -> Listing:
        """Find every image file and its class.

        Raises:
            UsageError: a folder or file is missing, empty or outside the folder; it is named.
        """
        tally = Tally()
        train_folder, test_folder = self._folders()
        train = self._classes(train_folder, tally)
        names, notes = tuple(train), []
        files = _flat(train)
        n_train = None
        if not self.makes_split(self._root(), test_folder is not None):
            assert test_folder is not None
            if _annotated(test_folder):
                test = self._of_annotations(test_folder, names)
            else:
                test = self._classes(test_folder, tally)
            if tuple(test) != names:
                odd = sorted(set(names) ^ set(test))[0]
                raise UsageError(
                    f"{self.path}: class {odd!r} exists in only one of {train_folder.name}/ and "
                    f"{test_folder.name}/"
                )
            if test_folder.name != "test":
                notes.append(f"{test_folder.name}/ is the test split")
            n_train = len(files)
            files += _flat(test)
        paths = [str(file) for file, _ in files]
        size, gray = self.size, self.gray
        return Listing(
            name="folder",
            recipe=self._recipe(paths),
            shape=self._shape(),
            labels=np.array([label for _, label in files], dtype=np.int64),
            n_train=n_train,
            decode=lambda number, tally: _decode(Path(paths[number]), size, gray, tally),
            content=_content(paths),
            class_names=names,
            tally=tally,
            notes=tuple(notes),
        )

    def default_model(self) -> str:
        """Recommend a model by the shape that the settings give; reads names only."""
        train, test = self._folders()
        self._classes(train, Tally())
        self.makes_split(self._root(), test is not None)
        return suited_model(self._shape())

    def _shape(self) -> tuple[int, ...]:
        return (self.size, self.size) if self.gray else (3, self.size, self.size)

    def _recipe(self, paths: list[str]) -> dict[str, object]:
        """What determines the pixels: names, sizes and times of the files, and the decoder."""
        digest, root = hashlib.sha256(), self._root()
        for path in paths:
            found = Path(path).stat()
            name = Path(path).relative_to(root)
            digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
        pillow = importlib.metadata.version("pillow")
        return {"files": digest.hexdigest(), "gray": self.gray, "pillow": pillow}

    def _root(self) -> Path:
        return require_path(self.path, "folder", "DIR with train/<class>/ and test/<class>/")

    def _folders(self) -> tuple[Path, Path | None]:
        """The training folder, and the test folder if there is one."""
        root = self._root()
        train, test, val = root / "train", root / "test", root / "val"
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder; need train/<class>/ and test/<class>/")
        if not train.is_dir():
            if self.split is None or test.is_dir():
                raise UsageError(
                    f"{train}: no such folder; need train/<class>/ and test/<class>/ or, with "
                    "data.split=0.2, a folder for each class"
                )
            return root, None
        if _annotated(val) or (val.is_dir() and not test.is_dir() and self.split is None):
            return train, val
        return train, test if test.is_dir() else None

    def _classes(self, folder: Path, tally: Tally) -> Files:
        """The class folders of a split."""
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

    def _of_annotations(self, folder: Path, names: tuple[str, ...]) -> Files:
        """Images in one folder, whose classes a file gives (Tiny-ImageNet)."""
        file = folder / ANNOTATIONS
        found: Files = {name: [] for name in names}
        images = images_in(folder, self._root().resolve(), Tally())
        by_name = {path.name: path for path in images}
        try:
            lines = read_text(file, links=True).splitlines()
        except FileError as error:
            raise UsageError(f"{error}; fetch it again") from error
        for number, line in enumerate(lines, 1):
            image, name, *_ = (*line.split("\t"), "", "")
            if image not in by_name or name not in found:
                wrong = f"image {image!r}" if image not in by_name else f"class {name!r}"
                raise UsageError(f"{file} line {number}: no {wrong}; fetch the data again")
            found[name].append(by_name[image])
        return {name: sorted(paths) for name, paths in found.items() if paths}


def _annotated(folder: Path) -> bool:
    return (folder / ANNOTATIONS).is_file()


def _flat(classes: Files) -> list[tuple[Path, int]]:
    return [(file, label) for label, files in enumerate(classes.values()) for file in files]


def _content(paths: list[str]) -> Callable[[int], bytes]:
    return lambda number: Path(paths[number]).read_bytes()
