"""Event files of TensorBoard, written by the block: rows of bytes that differ in a few places.

A file is a sequence of records (length, its checksum, bytes, their checksum); an event is a protobuf
message of a time, a step and named numbers. Events with the same names have the same bytes but for
those three, so a block of them is one array. Formats: ``tensorflow/core/util/event.proto``,
``summary.proto`` and ``lib/io/record_writer.h``; the checksum is CRC-32C (RFC 3720, appendix B.4).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

VERSION = b"brain.Event:2"
STEP_BYTES = 5
"""Bytes of a step, whatever its size: 7 bits in each."""


class Event(NamedTuple):
    """Numbers of one step."""

    time: float
    """Seconds since 1970."""
    step: int
    """Below 2³⁵."""
    names: tuple[str, ...]
    values: tuple[float, ...]
    """One for each name."""


class EventFile:
    """Appends events to a new file in a folder."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """Begin the file.

        Args:
            folder: made where it is missing.
            purge_step: from here on, readers forget what earlier files of the folder have.
        """
        now = time.time()
        folder.mkdir(parents=True, exist_ok=True)
        taken = len([*folder.glob("events*")])
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{taken}"
        self.path = folder / name
        head = [_time(now) + _bytes(3, VERSION)]
        if purge_step is not None:
            start = b"\x08\x01"  # SessionLog.status = START
            head.append(_time(now) + b"\x10" + _varint(purge_step) + _bytes(7, start))
        self._append(b"".join(_records(np.frombuffer(one, np.uint8)[None]) for one in head))

    def write(self, events: Sequence[Event]) -> None:
        """Append events. Those of the same names that follow each other are written at once."""
        parts = groupby(events, key=lambda event: event.names)
        self._append(b"".join(_records(_rows(names, [*same])) for names, same in parts))

    def _append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


def _rows(names: tuple[str, ...], events: Sequence[Event]) -> np.ndarray:
    """Events of the same names as messages, ``(n, length)`` uint8."""
    plain, places = _template(names)
    rows = np.tile(plain, (len(events), 1))
    rows[:, 1:9] = _view([event.time for event in events], "<f8")
    steps = np.array([event.step for event in events], np.int64)
    for at in range(STEP_BYTES):
        more = 0x80 if at < STEP_BYTES - 1 else 0
        rows[:, 10 + at] = steps >> 7 * at & 0x7F | more
    with np.errstate(over="ignore"):  # beyond float32 a number is infinite
        values = np.array([event.values for event in events], np.float64).astype("<f4")
    rows[:, places] = values.view(np.uint8).reshape(len(events), -1)
    return rows


@cache
def _template(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """An event of zeros as ``(length,)`` uint8, and where the bytes of its values are."""
    summary, ends = b"", []
    for name in names:
        # Summary.Value: tag = 1, simple_value = 2 (float32, the last four bytes).
        summary += _bytes(1, _bytes(1, name.encode()) + b"\x15" + bytes(4))
        ends.append(len(summary))
    head = _time(0.0) + b"\x10" + bytes(STEP_BYTES)
    plain = head + _bytes(5, summary)
    before = len(plain) - len(summary)
    places = [before + end - 4 + at for end in ends for at in range(4)]
    return np.frombuffer(plain, np.uint8), np.array(places, np.int64)


def _records(rows: np.ndarray) -> bytes:
    """Messages ``(n, length)`` as records, one after another."""
    n, length = rows.shape
    size = np.frombuffer(struct.pack("<Q", length), np.uint8)
    sizes = np.tile(size, (n, 1))
    whole = np.concatenate([sizes, _checksum(sizes[:1]).repeat(n, 0), rows, _checksum(rows)], 1)
    return whole.tobytes()


def _checksum(rows: np.ndarray) -> np.ndarray:
    """The masked CRC-32C of each row, ``(n, 4)`` uint8."""
    length = rows.shape[1]
    table = _contributions(1 << max(6, (length - 1).bit_length()))[length - 1 :: -1]
    first = rows.copy()
    first[:, :4] ^= 0xFF  # the register starts with ones
    crc = np.bitwise_xor.reduce(table[np.arange(length), first], axis=1) ^ np.uint32(0xFFFFFFFF)
    masked = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)
    return np.asarray(masked.astype("<u4")[:, None].view(np.uint8))


@cache
def _contributions(length: int) -> np.ndarray:
    """``(length, 256)`` uint32: what each byte adds to the CRC when that many bytes follow it."""
    one = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        one = one >> np.uint32(1) ^ np.where(
            one & np.uint32(1), np.uint32(0x82F63B78), np.uint32(0)
        )
    table = np.empty((length, 256), np.uint32)
    table[0] = one
    for at in range(1, length):
        table[at] = table[at - 1] >> np.uint32(8) ^ one[table[at - 1] & np.uint32(0xFF)]
    return table


def _view(values: Sequence[float], dtype: str) -> np.ndarray:
    return np.array(values, dtype)[:, None].view(np.uint8)


def _time(seconds: float) -> bytes:
    """Event.wall_time = 1, a double."""
    return b"\x09" + struct.pack("<d", seconds)


def _bytes(field: int, data: bytes) -> bytes:
    """A field of bytes, a text or a message."""
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _varint(n: int) -> bytes:
    found = bytearray()
    while n > 0x7F:
        found.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*found, n])
