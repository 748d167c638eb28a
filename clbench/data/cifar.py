"""CIFAR-10 and CIFAR-100 in the "binary version" (Krizhevsky 2009).

A file is a sequence of records: 1 label byte (CIFAR-10) or 2 (CIFAR-100: coarse, then fine), then
3,072 bytes of pixels, red, green and blue plane after one another, each in row order. The "python
version", which torchvision fetches, has the same rows as arrays in pickles; they are read as plain
data, and nothing in them is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clbench.data import plain_pickle
from clbench.data.dataset import DataSet
from clbench.data.files import data_roots, first_with, torchvision_datasets
from clbench.data.pool import Arrays
from clbench.errors import UsageError
from clbench.util.files import FileError, read_text

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
MAX_FILE = 1 << 28
"""Bytes; the largest file, of 50,000 records, has 154 million."""


@dataclass(frozen=True)
class CifarDataSet(DataSet):
    """Base of CIFAR-10 and CIFAR-100: 32x32 colour images.

    Without ``data.path``, the files are searched in ``$CLBENCH_DATA/<name>`` and
    ``$CLBENCH_DATA``: the binary version or, if only that is there, the python version.
    """

    name: ClassVar[str]
    n_classes: ClassVar[int]
    label_bytes: ClassVar[int]
    binary_folder: ClassVar[str]
    train_files: ClassVar[tuple[str, ...]]
    test_file: ClassVar[str]
    torchvision_name: ClassVar[str]
    torchvision_folder: ClassVar[str]
    names_file: ClassVar[str]
    """One class name a line, beside the files of the binary version."""
    label_key: ClassVar[bytes]
    """Of the labels in the pickles of the python version."""
    python_names: ClassVar[tuple[str, bytes]]
    """The pickle with the class names, and their key in it."""

    path: Path | None = None
    """Folder that holds the files, or their folder; null: ``$CLBENCH_DATA``."""

    download: bool = False
    """Download missing files into ``data.path`` with torchvision."""

    def arrays(self) -> Arrays:
        """Read uint8 ``(n, 3, 32, 32)`` images, from the binary or the python version.

        Raises:
            UsageError: the files are missing (the message says how to get them) or malformed.
        """
        folder = first_with(self._folders(), (*self.train_files, self.test_file))
        if folder is not None:
            train = [self._read(folder / file) for file in self.train_files]
            train_x, train_y = (np.concatenate(part) for part in zip(*train, strict=True))
            test_x, test_y = self._read(folder / self.test_file)
            names = self._names(folder)
        else:
            folder = self._python_folder()
            parts = [self._unpickled(folder / file) for file in self._python_files()]
            test_x, test_y = parts.pop()
            train_x, train_y = (np.concatenate(part) for part in zip(*parts, strict=True))
            names = self._python_names(folder)
        return Arrays(train_x, train_y, test_x, test_y, self.n_classes, 1 / 255, class_names=names)

    def default_model(self) -> str:
        """Recommend the narrow ResNet-18 that is customary for CIFAR in continual learning."""
        return "slim_resnet18"

    def _folders(self) -> Iterator[Path]:
        for root in data_roots(self.path, self.name):
            yield root
            yield root / self.binary_folder

    def _read(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        x, y = read_cifar(file, self.label_bytes)
        if y.max() >= self.n_classes:
            raise UsageError(
                f"{file}: label {y.max()} is outside 0..{self.n_classes - 1}; is this {self.name}?"
            )
        return x, y

    def _names(self, folder: Path) -> tuple[str, ...]:
        """The class names beside the binary files; none if their file is missing or another's."""
        file = folder / self.names_file
        try:
            names = tuple(read_text(file, links=True).split()) if file.is_file() else ()
        except FileError as error:
            raise UsageError(f"{error}; fetch it again") from error
        return names if len(names) == self.n_classes else ()

    def _python_folder(self) -> Path:
        """The folder of the python version, downloaded if that is asked for."""
        if self.download:
            self._fetch()
        for root in data_roots(self.path, self.name):
            for folder in (root / self.torchvision_folder, root):
                if all((folder / file).is_file() for file in self._python_files()):
                    return folder
        where = self.path or "the usual places"
        raise UsageError(
            f"data={self.name}: no files in {where}; set data.path=FOLDER with "
            f"{self.binary_folder}/ (the binary version) or {self.torchvision_folder}/ (the python "
            "version) or, with the extra clbench[vision], data.path=FOLDER data.download=true"
        )

    def _fetch(self) -> None:
        if self.path is None:
            raise UsageError("data.download=true needs data.path=FOLDER to download to")
        root = self.path.expanduser()
        try:
            getattr(torchvision_datasets(), self.torchvision_name)(str(root), download=True)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(f"data={self.name}: torchvision failed on {root}: {reason}") from error

    def _python_files(self) -> list[str]:
        """The pickles' names: those of the binary files without their ending."""
        return [file.removesuffix(".bin") for file in (*self.train_files, self.test_file)]

    def _unpickled(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        found = plain_pickle.read(file)
        found = found if isinstance(found, dict) else {}
        x: Any = found.get(b"data")
        y: Any = found.get(self.label_key)
        right = isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.shape[1:] == (PIXELS,)
        if not right or not isinstance(y, list) or len(y) != len(x) or not len(x):
            raise UsageError(
                f"{file}: needs 'data', uint8 of shape (n, {PIXELS}), and '{self.label_key.decode()}', "
                "a list of as many labels; fetch it again"
            )
        if not all(isinstance(label, int) and 0 <= label < self.n_classes for label in y):
            raise UsageError(
                f"{file}: a label is outside 0..{self.n_classes - 1}; is this {self.name}?"
            )
        return x.reshape(-1, *SHAPE), np.asarray(y, dtype=np.int64)

    def _python_names(self, folder: Path) -> tuple[str, ...]:
        """The class names beside the pickles; none if their file is missing or another's."""
        file = folder / self.python_names[0]
        found = plain_pickle.read(file) if file.is_file() else {}
        names = found.get(self.python_names[1], ()) if isinstance(found, dict) else ()
        texts = tuple(n.decode(errors="replace") for n in names if isinstance(n, bytes))
        return texts if len(texts) == self.n_classes else ()


def read_cifar(file: Path, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """``(n, 3, 32, 32)`` uint8 images and ``(n,)`` int64 labels (the last, finest label byte).

    Raises:
        UsageError: the file is unreadable, empty or not a whole number of records.
    """
    try:
        if file.stat().st_size > MAX_FILE:
            raise UsageError(f"{file}: is larger than {MAX_FILE >> 20} MiB; fetch it again")
        values = np.fromfile(file, dtype=np.uint8)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); fetch it again") from error
    record = label_bytes + PIXELS
    if len(values) == 0 or len(values) % record:
        raise UsageError(
            f"{file}: {len(values)} bytes are not a whole number of {record}-byte records; "
            "fetch it again"
        )
    records = values.reshape(-1, record)
    images = np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, *SHAPE)
    return images, records[:, label_bytes - 1].astype(np.int64)
