"""Pools larger than memory: the samples stay in one file, and batches are read by position."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from clbench.data.array_cache import fetch
from clbench.data.pixel_file import PixelFile
from clbench.data.pool import Arrays, Pool, Split, TensorPool, hash_of, smallest_tenth
from clbench.data.rows import Rows

AHEAD = 4
"""Batches that the system is asked for in advance."""
CHUNK = 1 << 24
"""Bytes read at once where a whole file is gone through."""


@dataclass(frozen=True)
class Decoded:
    """A data set in a file: which samples are whose, and what they are called."""

    file: PixelFile
    content: str
    """A hash of the file's samples."""
    labels: np.ndarray
    """``(n,)`` int64 of all samples of the file."""
    sides: Mapping[Split, np.ndarray]
    """``(m,)`` int64: the rows of each split."""
    n_classes: int
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return self.file.n * self.file.row_bytes

    def y(self, split: Split) -> np.ndarray:
        """``(m,)`` int64 labels of a split."""
        return np.asarray(self.labels[self.sides[split]])

    def arrays(self) -> Arrays:
        """All samples in host memory."""
        x = {split: self.file.rows(index) for split, index in self.sides.items()}
        return Arrays(
            x["train"],
            self.y("train"),
            x["test"],
            self.y("test"),
            self.n_classes,
            scale=1 / 255,
            parts=self.parts,
            class_names=self.class_names,
            notes=self.notes,
        )

    def sha256(self) -> str:
        """The hash that a resident pool of the same samples has; computed once for each file."""
        return str(self._once("pool_hash", self._hash)["sha256"])

    def _hash(self) -> dict[str, np.ndarray]:
        split: tuple[Split, ...] = ("train", "test")
        parts = [
            part
            for name in split
            for part in (
                ((len(self.sides[name]), *self.file.shape), "|u1", self._bytes(name)),
                (self.y(name).shape, self.y(name).dtype.str, iter([self.y(name)])),
            )
        ]
        return {"sha256": np.array(hash_of(self.n_classes, 1 / 255, parts))}

    def _bytes(self, split: Split) -> Iterator[np.ndarray]:
        return self.file.chunks(self.sides[split], CHUNK)

    def held_out(self) -> np.ndarray:
        """``(n_train,)`` bool: what tuning scores on, as of a resident pool; computed once."""
        return self._once("held_out", self._held_out)["mask"]

    def _held_out(self) -> dict[str, np.ndarray]:
        digests = [
            hashlib.sha256(row.tobytes()).digest() for part in self._bytes("train") for row in part
        ]
        return {"mask": smallest_tenth(np.array(digests), self.y("train"))}

    def _once(self, kind: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        recipe = {"content": self.content, "n_classes": self.n_classes}
        for name, index in self.sides.items():
            recipe[name] = hashlib.sha256(index.tobytes() + self.y(name).tobytes()).hexdigest()
        return fetch(kind, recipe, make)


class MappedPool(Pool):
    """Samples in a file; batches go to the device as they are asked for."""

    dtype = torch.uint8
    scale = 1 / 255

    def __init__(self, data: Decoded, device: torch.device) -> None:
        self._data, self.device = data, device
        self.n_classes, self.input_shape = data.n_classes, data.file.shape
        self.class_names, self.notes, self.parts = data.class_names, data.notes, data.parts
        self.sha256 = data.sha256()
        self._labels = {split: data.y(split) for split in data.sides}

    def size(self, split: Split) -> int:
        """The number of samples of a split."""
        return len(self._labels[split])

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""
        return self._labels[split]

    def rows(self, split: Split, index: np.ndarray) -> Rows:
        """Choose samples; they are read when they are gathered."""
        return FileRows(self._data.file, self._data.sides[split][index], self.device)

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """``(len(index), *input_shape)``: those samples, on the device.

        Raises:
            UsageError: they are too many for one tensor.
        """
        return self.rows(split, np.asarray(index)).tensor()

    def tuning(self) -> MappedPool:
        """The training split alone: 90 % for learning, 10 % for scoring."""
        mask, train = self._data.held_out(), self._data.sides["train"]
        return MappedPool(
            replace(self._data, sides={"train": train[~mask], "test": train[mask]}), self.device
        )


class FileRows(Rows):
    """Samples of a file, by their rows."""

    dtype = torch.uint8

    def __init__(self, file: PixelFile, index: np.ndarray, device: torch.device) -> None:
        self._file, self._index, self.device = file, index, device
        self.shape = (len(index), *file.shape)

    def select(self, index: np.ndarray) -> FileRows:
        """Choose samples by ``(m,)`` positions."""
        return FileRows(self._file, self._index[index], self.device)

    def parts(self, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Read the parts, each while the next four are on their way from the disk.

        For a GPU they are read into pinned memory, from which they are copied while the host goes on.
        """
        ends = np.cumsum(sizes)
        index = [self._index[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        for part in index[:AHEAD]:
            self._file.will_need(part)
        for number, part in enumerate(index):
            if number + AHEAD < len(index):
                self._file.will_need(index[number + AHEAD])
            yield self._gather(part)

    def _gather(self, rows: np.ndarray) -> Tensor:
        pinned = self.device.type == "cuda"
        shape = (len(rows), *self.shape[1:])
        x = torch.empty(shape, dtype=self.dtype, device="cpu", pin_memory=pinned)
        self._file.read(rows, x.numpy())
        # Pinned memory is not given to anyone else before the copy is done.
        return x.to(self.device, non_blocking=True) if pinned else x.to(self.device)


def pool_of(data: Decoded, device: torch.device, mapped: bool) -> Pool:
    """The pool of a data set in a file: mapped, or with all samples on the device."""
    return MappedPool(data, device) if mapped else TensorPool(data.arrays(), device)
