"""Pickles of plain data: dicts, lists, numbers, texts and numeric arrays, and nothing else.

A pickle is a program, which may call any function. Here it can name two functions and two classes, of
numpy's arrays, and gets stand-ins for them that only hold values.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from clbench.errors import UsageError

MAX_FILE = 1 << 28
KINDS = "biufS"
"""Kinds of numpy's dtypes whose values are their bytes."""


class Refused(ValueError):
    """The pickle holds something else than plain data."""


class _DType:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, text: Any, *_: object) -> None:
        self.dtype = np.dtype(text.decode() if isinstance(text, bytes) else str(text))
        if self.dtype.kind not in KINDS:
            raise Refused(f"an array of {self.dtype}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode() if isinstance(state[1], bytes) else str(state[1])
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class _NdArray:
    """Stands in for ``numpy.ndarray``."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _DType) or not isinstance(content, bytes):
            raise Refused("an array that is not of numbers")
        values = np.frombuffer(content, dtype.dtype).copy()  # a tensor may share its memory
        self.values = values.reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(kind: object, *_: object) -> _NdArray:
    if kind is not _NdArray:
        raise Refused("an array of a class of its own")
    return _NdArray()


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise Refused(f"bytes in the encoding {str(encoding)[:20]}")
    return text.encode(encoding)


def _empty(*content: object) -> bytes:
    if content:
        raise Refused("bytes made of something else")
    return b""


SIMPLE = (bool, int, float, str, bytes, type(None))
NAMES = {
    ("__builtin__", "bytes"): _empty,
    ("builtins", "bytes"): _empty,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}
"""What a pickle of arrays names, and what it gets."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise Refused(f"{module}.{name}"[:80])
        return NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("a reference to something outside")


def read(file: Path) -> Any:
    """Read plain data; texts of Python 2 are bytes.

    Raises:
        UsageError: the file is unreadable, too large, no pickle, or holds anything but plain data.
    """
    try:
        if file.stat().st_size > MAX_FILE:
            raise UsageError(f"{file}: is larger than {MAX_FILE >> 20} MiB; fetch it again")
        return _plain(_Reader(io.BytesIO(file.read_bytes()), encoding="bytes").load(), {})
    except UsageError:
        raise
    except Refused as what:
        raise UsageError(
            f"{file}: holds {what}, which plain data do not; do not trust it"
        ) from what
    except Exception as error:  # a damaged pickle may raise anything
        reason = (str(error).splitlines() or [""])[0][:80]
        raise UsageError(
            f"{file}: cannot be read ({type(error).__name__}: {reason}); fetch it again"
        ) from error


def _plain(found: Any, done: dict[int, Any]) -> Any:
    """The data with arrays in place of what stood in for them.

    Args:
        found: what was read.
        done: containers by their number, so that what is named often is gone through once; extended.
    """
    if isinstance(found, _NdArray):
        return found.values
    if isinstance(found, SIMPLE):
        return found
    if not isinstance(found, dict | list | tuple):
        raise Refused(f"a {type(found).__name__}")
    if id(found) not in done:
        if isinstance(found, dict):
            done[id(found)] = {_plain(k, done): _plain(v, done) for k, v in found.items()}
        else:
            done[id(found)] = [_plain(value, done) for value in found]
    return done[id(found)]
