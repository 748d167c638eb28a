"""A file of samples of equal size, one after another, read by position.

Positioned reads (``preadv``) go into memory of our own, so that the pages of the file do not count as
ours, and the kernel is asked to fetch what comes next (``posix_fadvise``). Where a system has no such
calls, the file is mapped.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clbench.errors import ClbenchError


class PixelFile:
    """``n`` samples of one shape, uint8, in the order of the file."""

    def __init__(self, path: Path, n: int, shape: tuple[int, ...]) -> None:
        self.path, self.n, self.shape = path, n, shape
        self.row_bytes = int(np.prod(shape, dtype=np.int64))
        self._number = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._number)

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Read samples into ``out``, ``(len(rows), *shape)`` uint8 and contiguous.

        Raises:
            ClbenchError: the file ends before, or cannot be read.
        """
        view, size = out.reshape(-1).data, self.row_bytes
        for row, at, n in runs(rows):
            self._fill(view[at * size : (at + n) * size], row * size)

    def _fill(self, view: memoryview, start: int) -> None:
        while view:
            try:
                got = os.preadv(self._number, [view], start)
            except AttributeError:
                mapped = np.memmap(self.path, np.uint8, "r")[start : start + len(view)]
                got = len(mapped)
                view[:got] = mapped.tobytes()
            except OSError as error:
                raise ClbenchError(f"{self.path}: cannot be read ({error.strerror})") from error
            if got == 0:
                raise ClbenchError(
                    f"{self.path}: ends too early; remove its folder to decode again"
                )
            view, start = view[got:], start + got

    def will_need(self, rows: np.ndarray) -> None:
        """Ask the system to fetch samples that are read soon."""
        if not hasattr(os, "posix_fadvise"):
            return
        size, number, wanted = self.row_bytes, self._number, os.POSIX_FADV_WILLNEED
        for row, _, n in runs(rows):
            os.posix_fadvise(number, row * size, n * size, wanted)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Read ``(len(index), *shape)`` samples."""
        out = np.empty((len(index), *self.shape), dtype=np.uint8)
        self.read(index, out)
        return out

    def chunks(self, index: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """Read so many bytes at once, at least a sample."""
        step = max(1, size // self.row_bytes)
        for start in range(0, len(index), step):
            yield self.rows(index[start : start + step])


def runs(rows: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Rows that follow one another: the first row, its place, and how many they are."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(rows) != 1) + 1]) if len(rows) else rows
    counts = np.diff(np.append(starts, len(rows)))
    return zip(rows[starts].tolist(), starts.tolist(), counts.tolist(), strict=True)
