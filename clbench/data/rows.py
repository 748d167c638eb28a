"""Samples that are gathered when they are asked for, because all of them may not fit in memory.

Whatever has a field of samples declares it as ``x: Tensor = Held()``: the field holds a tensor or
``Rows``, and reading it gives a tensor either way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench.errors import UsageError

AT_ONCE = 1 << 30
"""Bytes of samples that are gathered into one tensor at most."""
FIELD = "_x"


class Rows(ABC):
    """Samples by position, on a device once they are gathered."""

    shape: tuple[int, ...]
    """``(n, *input_shape)``"""
    dtype: torch.dtype
    device: torch.device

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all of them as one tensor."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @abstractmethod
    def select(self, index: np.ndarray) -> Rows:
        """Choose samples by ``(m,)`` positions, in their order; reads nothing."""

    @abstractmethod
    def parts(self, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Gather one part after another, ``(size, *input_shape)`` each, reading ahead."""

    def batches(self, size: int) -> Iterator[Tensor]:
        """Gather parts of ``size`` samples; the last may be smaller. Of none it is one empty part."""
        n = len(self)
        return self.parts([min(size, n - start) for start in range(0, n, size)] or [0])

    def tensor(self) -> Tensor:
        """Gather all of them.

        Raises:
            UsageError: they are more than ``AT_ONCE`` bytes.
        """
        if self.nbytes > AT_ONCE:
            raise UsageError(
                f"{len(self):,} samples of {self.nbytes / 1e9:.1f} GB at once; go through a task by "
                "part, split, first or samples instead of x (docs/data.md, 'Larger than memory')"
            )
        found = list(self.parts([len(self)]))
        return found[0]


class Joined(Rows):
    """Rows and the samples of a tensor after them, in any order."""

    def __init__(self, first: Rows, second: Tensor, index: np.ndarray | None = None) -> None:
        self._first, self._second = first, second.to(first.dtype)
        both = len(first) + len(second)
        self._index = np.arange(both) if index is None else index
        self.shape = (len(self._index), *first.shape[1:])
        self.dtype, self.device = first.dtype, first.device

    def select(self, index: np.ndarray) -> Joined:
        """Choose samples by ``(m,)`` positions."""
        return Joined(self._first, self._second, self._index[index])

    def parts(self, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Gather the parts; those of the file are read ahead."""
        n, ends = len(self._first), np.cumsum(sizes)
        index = [self._index[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        stored = [part < n for part in index]
        read = self._first.select(self._index[self._index < n]).parts(
            [int(s.sum()) for s in stored]
        )
        for part, is_first, x in zip(index, stored, read, strict=True):
            out = torch.empty((len(part), *self.shape[1:]), dtype=self.dtype, device=self.device)
            places = (
                torch.as_tensor(np.flatnonzero(s), device=self.device)
                for s in (is_first, ~is_first)
            )
            others = torch.as_tensor(part[~is_first] - n, device=self.device)
            for at, values in zip(places, (x, self._second.index_select(0, others)), strict=True):
                out.index_copy_(0, at, values)
            yield out


class Held:
    """The field ``x`` of a dataclass: a tensor, or rows that become one when the field is read."""

    def __get__(self, owner: Any, kind: type[Any] | None = None) -> Tensor:
        if owner is None:
            raise AttributeError("x")  # the field has no default
        held = held_by(owner)
        if isinstance(held, Rows):
            held = vars(owner)[FIELD] = held.tensor()
        return held

    def __set__(self, owner: Any, value: Tensor | Rows) -> None:
        vars(owner)[FIELD] = value


def held_by(owner: Any) -> Tensor | Rows:
    """What a field ``x`` holds; nothing is read."""
    found: Tensor | Rows = vars(owner)[FIELD]
    return found


def chosen(held: Tensor | Rows, index: Tensor) -> Tensor | Rows:
    """Samples by ``(m,)`` int64 positions: gathered, of rows only chosen."""
    if isinstance(held, Rows):
        return held.select(index.cpu().numpy())
    return held.index_select(0, index)


def cut(held: Tensor | Rows, size: int) -> Iterator[Tensor]:
    """Parts of ``size`` samples; the last may be smaller. Of a tensor they are views."""
    return held.batches(size) if isinstance(held, Rows) else iter(held.split(size))
