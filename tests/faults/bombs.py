"""Files that claim, or unpack to, far more than they hold; each is made in a moment."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

BLOCK = 1 << 24
"""Bytes of zeros that are compressed once and repeated."""


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    """The first bytes of an ``.npy`` file."""
    out = io.BytesIO()
    words = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, words)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    """An array as an ``.npy`` file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def deflated_zeros(n_bytes: int, first: bytes = b"", wbits: int = -15) -> bytes:
    """``first`` and about ``n_bytes`` of zeros, deflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    start = packer.compress(first) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (n_bytes // BLOCK) + b"\x03\x00"


def gzip_zeros(path: Path, n_bytes: int, first: bytes) -> Path:
    """A gzip file of ``first`` and zeros; its checksum is wrong, which nobody should read up to."""
    head = b"\x1f\x8b\x08\x00" + bytes(6)
    path.write_bytes(head + deflated_zeros(n_bytes, first) + bytes(8))
    return path


def npz(path: Path, **members: bytes) -> Path:
    """An ``.npz`` file of raw members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def arrays(**changes: bytes) -> dict[str, bytes]:
    """The members of a small data set, some of them replaced."""
    x, y = np.zeros((8, 4), np.uint8), np.arange(8) % 2
    found = {"train_x": npy(x), "train_y": npy(y), "test_x": npy(x), "test_y": npy(y)}
    return {**found, **changes}


def zip_bomb(
    path: Path, name: str, n_bytes: int, first: bytes, stated: int, others: Mapping[str, bytes]
) -> Path:
    """A zip with a member of zeros that inflates to ``n_bytes``, whatever size it states."""
    data = deflated_zeros(n_bytes, first)
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for other, content in others.items():
            archive.writestr(other, content)
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.CRC, info.compress_size, info.file_size = 0, len(data), stated
        info.header_offset = file.tell()
        file.write(info.FileHeader(zip64=False))
        file.write(data)
        archive.filelist.append(info)
        archive.NameToInfo[name] = info
        archive.start_dir = file.tell()
        archive._didModify = True  # type: ignore[attr-defined]
    return path


def safetensors(path: Path, tensors: Mapping[str, object], data: bytes = b"") -> Path:
    """A safetensors file with any header."""
    head = json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


def anchors(depth: int = 12, width: int = 10) -> str:
    """YAML whose aliases stand for ``width ** depth`` texts."""
    lines = ["a0: &a0 [x]"]
    for level in range(1, depth):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines) + "\n"


def png(path: Path, width: int, height: int) -> Path:
    """A black PNG of one bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    n_bytes = height * (1 + (width + 7) // 8)
    rows = zlib.compress(bytes(n_bytes)) if n_bytes < BLOCK else deflated_zeros(n_bytes, wbits=15)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    return path
