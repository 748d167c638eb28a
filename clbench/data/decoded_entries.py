"""The decoded data sets in the cache: listed, compared with their hashes, removed."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from filelock import FileLock

from clbench.data.decoded import FORMAT, META, PIXELS, root
from clbench.data.latent_cache import Damaged, key_of
from clbench.errors import ClbenchError

PART = ".part"
"""Ends the name of an entry that is not whole: its process was killed, or still runs."""


@dataclass(frozen=True)
class Meta:
    """What ``meta.json`` says of an entry."""

    data: str
    """Name of the data set."""
    shape: tuple[int, ...]
    """Of a sample."""
    samples: int
    block: int
    """Samples of a block."""
    blocks: tuple[str, ...]
    """SHA-256 of each block."""
    made: str

    @property
    def row_bytes(self) -> int:
        """Bytes of a sample."""
        n = 1
        for size in self.shape:
            n *= size
        return n


def entries(pattern: str = "*") -> list[Path]:
    """List the entries whose name or data match a shell pattern, unfinished ones with them.

    ``decoded`` matches all. The oldest comes first.
    """
    folder = root()
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and _matches(path, pattern)]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name))


def name_of(folder: Path) -> str:
    """The entry's name, whether it is whole or not."""
    return folder.name.removeprefix(".").removesuffix(PART)


def is_unfinished(folder: Path) -> bool:
    """Whether samples are still to be decoded into it."""
    return folder.name.endswith(PART)


def _matches(path: Path, pattern: str) -> bool:
    names = [name_of(path), "decoded"]
    with suppress(Damaged):
        names.append(read_meta(path).data)
    return any(fnmatchcase(name, pattern) for name in names) or names[0].startswith(pattern)


def read_meta(folder: Path) -> Meta:
    """Read the metadata of an entry.

    Raises:
        Damaged: the metadata cannot be used, or the entry is unfinished.
    """
    path = folder / META
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
        recipe = data["recipe"]
        if data["format"] != FORMAT:
            raise Damaged(f"made by another version (format {data['format']}, not {FORMAT})")
        if key_of(recipe) != name_of(folder):
            raise Damaged("its recipe does not match its name")
        made = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Meta(
            str(data["data"]),
            tuple(int(size) for size in recipe["shape"]),
            int(recipe["samples"]),
            int(recipe["block"]),
            tuple(str(digest) for digest in data["blocks"]),
            made,
        )
    except OSError as error:
        raise Damaged(f"{META}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damaged(f"{META} is malformed") from error


def check(folder: Path) -> Meta:
    """Read the metadata of an entry and compare every block of its samples with its hash.

    Raises:
        Damaged: the samples differ from what was written.
    """
    meta = read_meta(folder)
    if meta.block < 1 or len(meta.blocks) != -(-meta.samples // meta.block):
        raise Damaged(f"{META} is malformed")
    try:
        with (folder / PIXELS).open("rb") as file:
            if file.seek(0, 2) != meta.samples * meta.row_bytes:
                raise Damaged(f"{PIXELS} does not have the size of its samples")
            file.seek(0)
            for number, digest in enumerate(meta.blocks):
                content = file.read(meta.block * meta.row_bytes)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise Damaged(f"{PIXELS}: block {number} does not match its hash")
    except OSError as error:
        raise Damaged(f"{PIXELS}: {error.strerror}") from error
    return meta


def clear(folder: Path) -> None:
    """Remove an entry; processes that have it open can still read it.

    Raises:
        ClbenchError: it cannot be removed.
    """
    try:
        with FileLock(folder.parent / f".{name_of(folder)}.lock"):
            if folder.exists():  # an unfinished one may have become whole meanwhile
                shutil.rmtree(folder)
    except OSError as error:
        raise ClbenchError(f"{folder}: cannot be removed ({error.strerror})") from error
