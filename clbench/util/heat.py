"""Heat maps as pictures of a pixel a value: a small PNG in an address of its own."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

STOPS = (
    *((68, 1, 84), (72, 40, 120), (62, 73, 137), (49, 104, 142), (38, 130, 142)),
    *((31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37)),
)
"""Colours from 0 to 1: viridis (matplotlib), which is read in grey and by the colour-blind too."""
LEVELS = 40
"""Colours of a picture; few, so that it is small."""
NOTHING = (128, 128, 128)
"""Colour of what is not known."""


def address(values: np.ndarray) -> str:
    """A picture as a ``data:`` address.

    Args:
        values: ``(rows, columns)`` float in [0, 1]; NaN: not known.
    """
    rows, columns = values.shape
    known = np.nan_to_num(values, nan=0.0).clip(0, 1)
    index = np.where(np.isnan(values), LEVELS, np.round(known * (LEVELS - 1))).astype(np.uint8)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), index], axis=1)  # 0: no filter
    at = np.linspace(0, len(STOPS) - 1, LEVELS)
    colours = [np.interp(at, range(len(STOPS)), [s[c] for s in STOPS]) for c in range(3)]
    palette = np.round(np.stack(colours, axis=1)).astype(np.uint8).tobytes() + bytes(NOTHING)
    head = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    parts = [
        _chunk(b"IHDR", head),
        _chunk(b"PLTE", palette),
        _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
        _chunk(b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
