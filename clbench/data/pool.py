"""Pools: data sets as device-resident tensors.

A pool says *what a sample is*; a scenario decides which samples are delivered, and when.
"""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from clbench.data.rows import Rows
from clbench.errors import UsageError

Split = Literal["train", "test"]
VALIDATION_SHARE = 0.1
MAX_CLASSES = 10**5
"""A larger label is an identifier and no class."""


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A whole data set in host memory.

    ``train_x``, ``test_x``: ``(n, ...)`` of one shape and dtype, uint8 for images (``(n, H, W)`` or
    ``(n, C, H, W)``) or float32 for vectors; ``train_y``, ``test_y``: ``(n,)`` int64 labels in
    ``[0, n_classes)``. ``scale`` brings a raw value to the unit range (``1/255`` for images).
    ``parts`` is the number of classes of each joined data set, in label order. ``class_names`` has
    one for each label, or none. ``superclasses`` is the number of the super-class of each label, or
    none; they are numbered from 0. ``notes`` are sentences on what was left out or reinterpreted; the
    user is told them.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    n_classes: int
    scale: float = 1.0
    parts: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    superclasses: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_classes > MAX_CLASSES:
            raise UsageError(
                f"{self.n_classes:,} classes are more than {MAX_CLASSES:,}; number the labels 0..n-1"
            )
        if len(self.class_names) not in (0, self.n_classes):
            raise UsageError(f"{len(self.class_names)} class names for {self.n_classes} classes")
        known = sorted(set(self.superclasses)) == list(range(len(set(self.superclasses))))
        if len(self.superclasses) not in (0, self.n_classes) or not known:
            raise UsageError(
                f"{len(self.superclasses)} numbers of super-classes for {self.n_classes} classes; "
                "give each class one, from 0 on"
            )
        for split, x, y in (
            ("train", self.train_x, self.train_y),
            ("test", self.test_x, self.test_y),
        ):
            if len(x) != len(y) or len(x) == 0:
                raise UsageError(
                    f"{split}: {len(x)} samples and {len(y)} labels; need as many, >= 1"
                )
            if y.min() < 0 or y.max() >= self.n_classes:
                raise UsageError(
                    f"{split}: labels run from {y.min()} to {y.max()}, "
                    f"outside 0..{self.n_classes - 1}"
                )
            if x.dtype != np.uint8 and not np.isfinite(x).all():
                raise UsageError(f"{split}: the data holds NaN or infinite values")
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            raise UsageError(
                f"train samples have shape {self.train_x.shape[1:]}, "
                f"test samples {self.test_x.shape[1:]}"
            )


class Pool(ABC):
    """A data set that lives on one device, in its native dtype.

    ``train`` is for learning, ``test`` for scoring. Scaling to floats is the first layer of the
    model, so that a memory stores samples in the pool's dtype.
    """

    n_classes: int
    input_shape: tuple[int, ...]
    dtype: torch.dtype
    scale: float
    sha256: str
    device: torch.device
    parts: tuple[int, ...] = ()
    """Number of classes of each joined data set, in label order; else empty."""
    class_names: tuple[str, ...] = ()
    """The name of each label, or none. No part of the pool's identity."""
    superclasses: tuple[int, ...] = ()
    """The super-class of each label, or none. No part of the pool's identity."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out or reinterpreted when the data were read."""
    frozen_bytes: int = 0
    """Bytes of the encoder; 0 without one."""
    encoded: int = 0
    """Samples encoded on request so far; the cached ones do not count."""

    @property
    def raw(self) -> Pool:
        """The pool of raw samples, on which transforms act; pools of latents override it."""
        return self

    def changed(
        self, split: Split, index: np.ndarray, change: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Gather ``(len(index), *input_shape)`` samples, transformed by ``change``.

        ``change`` takes and returns raw samples, and may return its argument.
        """
        return change(self.gather(split, index))

    def factors(self, split: Split, index: np.ndarray) -> Mapping[str, np.ndarray]:
        """``(n,)`` numbers or names by factor: known attributes of some samples."""
        return {}

    def describe(self) -> dict[str, Any] | None:
        """Describe the encoding for the record; None without an encoder."""
        return None

    @abstractmethod
    def size(self, split: Split) -> int:
        """The number of samples of a split."""

    @abstractmethod
    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""

    @abstractmethod
    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """``(len(index), *input_shape)``: those samples, on the device."""

    def rows(self, split: Split, index: np.ndarray) -> Rows | None:
        """Samples that are gathered when they are asked for; None: ``gather`` gives them at once."""
        return None

    @abstractmethod
    def tuning(self) -> Pool:
        """The same pool without access to its test split.

        ``train`` is split once, stratified, by a hash of each sample, and therefore equally for
        every seed: 90 % for learning, 10 % (``val``) for scoring.
        """


class TensorPool(Pool):
    """The common pool: all samples resident on the device."""

    def __init__(self, arrays: Arrays, device: torch.device) -> None:
        self.n_classes, self.scale, self.device = arrays.n_classes, arrays.scale, device
        self.input_shape, self.parts = tuple(arrays.train_x.shape[1:]), arrays.parts
        self.class_names, self.notes = arrays.class_names, arrays.notes
        self.superclasses = arrays.superclasses
        self.sha256 = _hash(arrays)
        self._arrays = arrays
        self._x = {
            "train": torch.as_tensor(arrays.train_x, device=device),
            "test": torch.as_tensor(arrays.test_x, device=device),
        }
        self.dtype = self._x["train"].dtype

    def size(self, split: Split) -> int:
        """The number of samples of a split."""
        return len(self._x[split])

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""
        return self._arrays.train_y if split == "train" else self._arrays.test_y

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """``(len(index), *input_shape)``: those samples, on the device."""
        return self._x[split].index_select(0, torch.as_tensor(index, device=self.device))

    def tuning(self) -> TensorPool:
        """The training split alone: 90 % for learning, 10 % for scoring."""
        held_out = validation_mask(self._arrays.train_x, self._arrays.train_y)
        x, y = self._arrays.train_x, self._arrays.train_y
        return TensorPool(
            dataclasses.replace(
                self._arrays,
                train_x=x[~held_out],
                train_y=y[~held_out],
                test_x=x[held_out],
                test_y=y[held_out],
            ),
            self.device,
        )


def validation_mask(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``(n,)`` bool: the tenth of each class whose samples have the smallest SHA-256."""
    digests = [hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest() for row in x]
    return smallest_tenth(np.array(digests), y)


def smallest_tenth(digests: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``(n,)`` bool: the tenth of each class that has the smallest digests."""
    mask = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        ranked = members[np.argsort(digests[members], kind="stable")]
        mask[ranked[: max(1, round(VALIDATION_SHARE * len(members)))]] = True
    return mask


def _hash(arrays: Arrays) -> str:
    """The hash of a data set."""
    every = (arrays.train_x, arrays.train_y, arrays.test_x, arrays.test_y)
    parts = ((a.shape, a.dtype.str, iter([np.ascontiguousarray(a)])) for a in every)
    return hash_of(arrays.n_classes, arrays.scale, parts)


def hash_of(
    n_classes: int,
    scale: float,
    parts: Iterable[tuple[tuple[int, ...], str, Iterator[np.ndarray]]],
) -> str:
    """SHA-256 over shapes, dtypes, scale and bytes, in a fixed order.

    Args:
        n_classes: of the data set.
        scale: brings a raw value to the unit range.
        parts: the shape and dtype of each array, and its contiguous pieces in order.
    """
    digest = hashlib.sha256(f"{n_classes} {scale!r}".encode())
    for shape, dtype, pieces in parts:
        digest.update(f"{shape} {dtype}".encode())
        for piece in pieces:
            digest.update(piece.data)
    return digest.hexdigest()
