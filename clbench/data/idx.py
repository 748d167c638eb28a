"""IDX files, the format of MNIST and its successors (LeCun, Cortes & Burges 1998).

A file is two zero bytes, a type byte (8: uint8), the number of dimensions, that many big-endian
32-bit sizes, and the values in C order; optionally gzip-compressed.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from clbench.data.dataset import DataSet
from clbench.data.files import data_roots, torchvision_datasets
from clbench.data.pool import Arrays
from clbench.errors import UsageError
from clbench.util.archives import FREE, MAX_RATIO

SIDE, N_CLASSES = 28, 10
DEFLATE = 1100
"""No byte of a gzip file holds more."""
DEBIAN_ROOT = Path("/usr/share/datasets")
_PARTS = (
    ("train", "images", 3),
    ("train", "labels", 1),
    ("t10k", "images", 3),
    ("t10k", "labels", 1),
)


@dataclass(frozen=True)
class IdxDataSet(DataSet):
    """Base of the MNIST family: four IDX files, 28x28 gray images, 10 classes.

    Without ``data.path``, the files are searched in ``$CLBENCH_DATA/<name>``,
    ``$CLBENCH_DATA/<torchvision's name>/raw`` and the folder of Debian's ``dataset-*`` packages.
    """

    name: ClassVar[str]
    torchvision_name: ClassVar[str]
    debian_package: ClassVar[str | None] = None
    class_names: ClassVar[tuple[str, ...]] = ()

    path: Path | None = None
    """Folder with the four IDX files, or with torchvision's folders; null: the usual places."""

    download: bool = False
    """Download missing files into ``data.path`` with torchvision."""

    def arrays(self) -> Arrays:
        """Read the four files, uint8 ``(n, 28, 28)``.

        Raises:
            UsageError: a file is missing (the message says how to get it) or malformed.
        """
        files = self._find()
        if files is None and self.download:
            self._fetch()
            files = self._find()
        if files is None:
            raise UsageError(self._how_to_get())
        train_x, train_y, test_x, test_y = (
            read_idx(file, (SIDE, SIDE) if n_dims == 3 else ())
            for file, (_, _, n_dims) in zip(files, _PARTS, strict=True)
        )
        return Arrays(
            train_x,
            train_y.astype(np.int64),
            test_x,
            test_y.astype(np.int64),
            N_CLASSES,
            1 / 255,
            class_names=self.class_names,
        )

    def default_model(self) -> str:
        """Recommend the small convolutional network of the SCoLe paper."""
        return "scole_cnn"

    def _folders(self) -> Iterator[Path]:
        for root in data_roots(self.path, self.name):
            yield root
            yield root / self.torchvision_name / "raw"
        if self.path is None:
            yield DEBIAN_ROOT / self.name.replace("_", "-")

    def _find(self) -> list[Path] | None:
        return next((files for f in self._folders() if (files := find_idx(f)) is not None), None)

    def _fetch(self) -> None:
        if self.path is None:
            raise UsageError("data.download=true needs data.path=FOLDER to download to")
        dataset = getattr(torchvision_datasets(), self.torchvision_name)
        try:
            dataset(str(self.path.expanduser()), download=True)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(
                f"data={self.name}: torchvision could not download it: {reason}"
            ) from error

    def _how_to_get(self) -> str:
        debian = f", apt-get install {self.debian_package}," if self.debian_package else ""
        where = self.path or "the usual places"
        return (
            f"data={self.name}: no IDX files in {where}; set data.path=FOLDER with the four files "
            f"(train-images-idx3-ubyte[.gz] ...){debian} or, with the extra clbench[vision], "
            "data.path=FOLDER data.download=true"
        )


def find_idx(folder: Path) -> list[Path] | None:
    """Find training images, training labels, test images and test labels; None unless all exist.

    Both spellings in use, ``train-images-idx3-ubyte`` and ``train-images.idx3-ubyte``, are
    recognised, with or without ``.gz``.
    """
    found = []
    for split, kind, n_dims in _PARTS:
        names = [
            f"{split}-{kind}{separator}idx{n_dims}-ubyte{suffix}"
            for separator in "-."
            for suffix in ("", ".gz")
        ]
        file = next((folder / name for name in names if (folder / name).is_file()), None)
        if file is None:
            return None
        found.append(file)
    return found


def read_idx(file: Path, item_shape: tuple[int, ...]) -> np.ndarray:
    """Read an IDX file, ``(n, *item_shape)`` uint8; a file named ``*.gz`` is decompressed.

    Raises:
        UsageError: the file is not an IDX file of uint8 items of this shape and its stated length.
    """
    n_dims = 1 + len(item_shape)
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            header = stream.read(4 + 4 * n_dims)
            if len(header) < 4 + 4 * n_dims or header[:4] != bytes((0, 0, 8, n_dims)):
                raise UsageError(f"{file}: not an IDX file of uint8 with {n_dims} dimension(s)")
            shape = struct.unpack(f">{n_dims}I", header[4:])
            if shape[1:] != item_shape or shape[0] == 0:
                raise UsageError(f"{file}: holds shape {shape}, expected (n, {item_shape}), n >= 1")
            stated, size = math.prod(shape), file.stat().st_size
            ratio = MAX_RATIO if stated > FREE else DEFLATE
            if stated > size * (ratio if file.suffix == ".gz" else 1):
                raise UsageError(
                    f"{file}: states {stated:,} values, more than {size:,} bytes hold; fetch it again"
                )
            # One byte more than stated detects a longer file without reading it all.
            values = stream.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{file}: cannot be read ({error}); fetch it again") from error
    if len(values) != math.prod(shape):
        raise UsageError(
            f"{file}: states {math.prod(shape)} values and holds "
            f"{'more' if len(values) > math.prod(shape) else len(values)}; fetch it again"
        )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape).copy()
