"""Zip files of arrays, looked into before anything is unpacked.

The sizes that a zip file and the arrays in it state are held against the bytes that are there, so that
a small file cannot ask for much memory or time.
"""

from __future__ import annotations

import io
import math
import stat
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

MAX_DIRECTORY = 1 << 20
"""Bytes of a zip file's list of members; about 15,000 of them."""
MAX_HEADER = 10_000
"""Bytes of an array's header, as numpy limits it."""
MAX_RATIO = 200
"""To which a member may be compressed, if it is larger than ``FREE``; deflate reaches 1,032."""
FREE = 1 << 28
"""Bytes that a member may have at any ratio."""
BROKEN = (
    *(OSError, ValueError, EOFError, OverflowError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, tokenize.TokenError, MemoryError),
)
"""What readers of damaged zip files and headers raise."""


class ArchiveError(ValueError):
    """A file is no zip file of arrays, or claims more than it holds; the message is one line."""


class Header(NamedTuple):
    """What an array's header says."""

    shape: tuple[int, ...]
    dtype: np.dtype


def members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members of a zip file, by name, none of which unpacks to far more than it holds.

    Raises:
        ArchiveError: it is no zip file, or a member claims too much.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ArchiveError("is no ordinary file")
        with path.open("rb") as file:
            size = path.stat().st_size
            if not zipfile.is_zipfile(file):
                raise ArchiveError("is not a zip file")
            if _directory_bytes(file, size) > MAX_DIRECTORY:
                raise ArchiveError("holds too many members")
            with zipfile.ZipFile(file) as archive:
                found = {info.filename: info for info in archive.infolist()}
    except ArchiveError:
        raise
    except BROKEN as error:
        raise ArchiveError(f"cannot be read ({line(error)})") from error
    for name, info in found.items():
        _check(name, info, size)
    return found


def _check(name: str, info: zipfile.ZipInfo, size: int) -> None:
    shown = name[:100]
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"{shown} is compressed in a way that numpy never does")
    if info.compress_size > size:
        raise ArchiveError(f"{shown} states more bytes than the file has")
    limit = max(FREE, MAX_RATIO * info.compress_size)
    if info.compress_type == zipfile.ZIP_STORED:
        limit = info.compress_size
    if info.file_size > limit:
        raise ArchiveError(
            f"{shown} would unpack {info.compress_size / 1e6:,.1f} MB to {info.file_size / 1e6:,.0f}; "
            "store it uncompressed if that is meant"
        )


def header(path: Path, name: str) -> Header | None:
    """The shape and dtype of the array ``name.npy`` in a zip file; None if there is none.

    Raises:
        ArchiveError: it is no array, or is not as long as its header says.
    """
    info = members(path).get(f"{name}.npy")
    if info is None:
        return None
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as stream:
            found, start = _header(stream)
    except ArchiveError:
        raise
    except BROKEN as error:
        raise ArchiveError(line(error)) from error
    if any(side < 0 for side in found.shape):
        raise ArchiveError(f"states the shape {found.shape}")
    stated, there = math.prod(found.shape) * found.dtype.itemsize, info.file_size - start
    if not found.dtype.hasobject and stated != there:
        raise ArchiveError(f"states {stated:,} bytes and holds {there:,}")
    return found


def _header(stream: IO[bytes]) -> tuple[Header, int]:
    """The header of an ``.npy`` file, and where its values start."""
    major, _ = np.lib.format.read_magic(stream)
    width = 2 if major == 1 else 4
    first = stream.read(width)
    length = int.from_bytes(first, "little")
    if len(first) < width or length > MAX_HEADER:
        raise ArchiveError(f"has a header of {length:,} bytes")
    text = stream.read(length)
    if sum(map(text.count, (b"(", b"[", b"{"))) > 1000:
        raise ArchiveError("has a malformed header")
    whole = io.BytesIO(first + text)
    read = (
        np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(whole)
    return Header(tuple(shape), dtype), 8 + width + length


def _directory_bytes(file: IO[bytes], size: int) -> int:
    """The bytes of a zip file's list of members, from its end record."""
    tail_at = max(0, size - (1 << 16) - 22)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise ArchiveError("is not a zip file")
    (stated,) = struct.unpack_from("<I", tail, at + 12)
    file.seek(0)
    if at < 20 or tail[at - 20 : at - 16] != b"PK\x06\x07":
        return int(stated)
    (where,) = struct.unpack_from("<Q", tail, at - 12)
    file.seek(min(where, size))
    record = file.read(56)
    file.seek(0)
    if len(record) < 56 or record[:4] != b"PK\x06\x06":
        raise ArchiveError("has a damaged end")
    (larger,) = struct.unpack_from("<Q", record, 40)
    return int(max(stated if stated < 0xFFFFFFFF else 0, larger))


def line(error: BaseException) -> str:
    """An error's first line, or its kind."""
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
