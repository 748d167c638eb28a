"""Data sets that are decoded once, by several threads, into one file that all runs share.

An entry is a folder under ``decoded`` in the cache's folder, named by the hash of its recipe, with
``pixels.u8`` (the samples, one after another) and ``meta.json`` (the recipe, and the hash of each
block of samples). While it is made it lies beside, with a line in ``blocks.jsonl`` for each block that
is on the disk: whoever comes after a killed process goes on from there. A block that differs from its
hash is decoded again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from clbench.data.latent_cache import CACHE_VARIABLE, Damaged, home, key_of
from clbench.data.pictures import Ear, Tally
from clbench.data.pixel_file import PixelFile
from clbench.errors import ClbenchError
from clbench.util.atomic import write_atomically
from clbench.util.hashing import sha256_of

FORMAT = 1
BLOCK_BYTES = 1 << 24
"""Bytes of a block, which is hashed and written at once; a block has at least one sample."""
PIXELS, META, JOURNAL = "pixels.u8", "meta.json", "blocks.jsonl"
SPOT_CHECKS = 16
"""Blocks that are compared with their hashes where the file's time is that of its making."""
Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress display with a title and a total; it is called with the number done."""


def unwatched(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show nothing."""
    return nullcontext(lambda done: None)


@dataclass(frozen=True)
class Listing:
    """What is to be decoded: samples by number, each by itself."""

    name: str
    """Name of the data set, for people."""
    recipe: Mapping[str, Any]
    """Plain data that determine every sample."""
    shape: tuple[int, ...]
    """Of a sample."""
    labels: np.ndarray
    """``(n,)`` int64: those for training, then those for testing."""
    n_train: int | None
    """None: the test samples are still to be chosen."""
    decode: Callable[[int, Tally], np.ndarray]
    """A sample by its number, uint8; called by several threads."""
    content: Callable[[int], bytes] | None = None
    """The bytes whose hash decides the side of a sample; None: its pixels."""
    class_names: tuple[str, ...] = ()
    tally: Tally = field(default_factory=Tally)
    """What was left out."""
    notes: tuple[str, ...] = ()
    """Further sentences for the user."""

    @property
    def row_bytes(self) -> int:
        """Bytes of a sample."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return len(self.labels) * self.row_bytes

    @property
    def block(self) -> int:
        """Samples of a block."""
        return max(1, BLOCK_BYTES // self.row_bytes)

    @property
    def place(self) -> dict[str, Any]:
        """The whole recipe of an entry."""
        return {
            **self.recipe,
            "format": FORMAT,
            "shape": list(self.shape),
            "samples": len(self.labels),
            "block": self.block,
        }


@dataclass(frozen=True)
class Entry:
    """Decoded samples on the disk."""

    file: PixelFile
    content: str
    """Hash of the hashes of all blocks."""
    tally: Tally
    """What was found while decoding."""


def root() -> Path:
    """Where the entries are: ``decoded`` in the cache's folder."""
    return home() / "decoded"


def fetch(listing: Listing, watch: Watch = unwatched) -> Entry:
    """Open a data set's entry, decoded now if it is not there; other processes wait.

    Raises:
        UsageError: a sample cannot be decoded; it is named, and what was decoded before it is kept.
        ClbenchError: the cache cannot be written.
    """
    folder = root() / key_of(listing.place)
    try:
        return _opened(folder, listing)
    except Damaged:
        pass  # missing, being made or damaged: looked at again under the lock
    with _locked(folder):
        if folder.exists():
            try:
                return _opened(folder, listing)
            except Damaged:
                _take_apart(folder, listing)
        _make(folder, listing, watch)
        return _opened(folder, listing)


def in_memory(listing: Listing, watch: Watch = unwatched) -> tuple[np.ndarray, Tally]:
    """Decode ``(n, *shape)`` samples without a file."""
    out = np.empty((len(listing.labels), *listing.shape), dtype=np.uint8)
    found = Tally()
    with watch(f"decoding {listing.name}", len(out)) as report, _threads() as pool:
        for start in range(0, len(out), listing.block):
            found.add(_decode(listing, start, out[start : start + listing.block], pool))
            report(min(start + listing.block, len(out)))
    return out, found


def _threads() -> ThreadPoolExecutor:
    """As many threads as this process has cores; the decoders leave Python while they work."""
    there = getattr(os, "sched_getaffinity", None)
    return ThreadPoolExecutor(len(there(0)) if there else os.cpu_count() or 1)


def _decode(listing: Listing, start: int, out: np.ndarray, pool: ThreadPoolExecutor) -> Tally:
    """Decode the samples from ``start`` on into ``out``, each thread a part of them."""
    cuts = np.linspace(0, len(out), 4 * pool._max_workers + 1).astype(int).tolist()
    ear = Ear()

    def some(first: int, stop: int) -> Tally:
        tally = Tally(ear=ear)
        for at in range(first, stop):
            out[at] = listing.decode(start + at, tally)
        return tally

    whole = Tally()
    with ear.opened():
        parts = [pool.submit(some, *cut) for cut in pairwise(cuts)]
        wait(parts)
    for part in parts:  # in order, so that the error of the first sample is the one that is told
        whole.add(part.result())
    return whole


def _make(folder: Path, listing: Listing, watch: Watch) -> None:
    """Decode what is not yet there into the folder beside, and rename it; the lock is held."""
    part = _part(folder)
    started = time.time()
    try:
        part.mkdir(exist_ok=True)
        with (part / PIXELS).open("r+b" if (part / PIXELS).exists() else "w+b") as file:
            done = _finished(part, file, listing)
            _append(part, file, listing, done, watch)
            os.fsync(file.fileno())
            meta = {
                "format": FORMAT,
                "data": listing.name,
                "recipe": listing.place,
                "blocks": [done[number]["sha256"] for number in range(len(done))],
                "frames": sum(line["frames"] for line in done.values()),
                "transparent": sum(line["transparent"] for line in done.values()),
                "warned": [w for _, line in sorted(done.items()) for w in line["warned"]],
                "seconds": round(time.time() - started, 3),
            }
            stamp = os.fstat(file.fileno()).st_mtime_ns
        write_atomically(part / META, json.dumps({**meta, "stamp": stamp}).encode())
        (part / JOURNAL).unlink(missing_ok=True)
        part.rename(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _append(
    part: Path, file: BinaryIO, listing: Listing, done: dict[int, dict[str, Any]], watch: Watch
) -> None:
    """Decode the blocks that are not done, and note each when it is on the disk."""
    n, size = len(listing.labels), listing.block
    todo = [number for number in range(-(-n // size)) if number not in done]
    have = sum(min(size, n - number * size) for number in done)
    with (
        (part / JOURNAL).open("ab") as journal,
        watch(f"decoding {listing.name}", n) as report,
        _threads() as pool,
    ):
        for number in todo:
            out = np.empty((min(size, n - number * size), *listing.shape), dtype=np.uint8)
            tally = _decode(listing, number * size, out, pool)
            file.seek(number * size * listing.row_bytes)
            file.write(out.data)
            file.flush()
            os.fsync(file.fileno())
            line = {
                "block": number,
                "sha256": hashlib.sha256(out.data).hexdigest(),
                "frames": tally.frames,
                "transparent": tally.transparent,
                "warned": tally.warned,
            }
            journal.write(json.dumps(line).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
            done[number] = line
            have += len(out)
            report(have)


def _finished(part: Path, file: BinaryIO, listing: Listing) -> dict[int, dict[str, Any]]:
    """The blocks that a killed process left, as far as they are what it noted."""
    found: dict[int, dict[str, Any]] = {}
    with suppress(OSError, ValueError, KeyError, TypeError):  # the last line may be half written
        for text in (part / JOURNAL).read_bytes().splitlines():
            line = json.loads(text)
            number, size = int(line["block"]), listing.block * listing.row_bytes
            file.seek(number * size)
            last = listing.nbytes - number * size
            if hashlib.sha256(file.read(min(size, last))).hexdigest() == line["sha256"]:
                found[number] = line
    lines = (json.dumps(line) + "\n" for line in found.values())
    write_atomically(part / JOURNAL, "".join(lines).encode())
    return found


def _take_apart(folder: Path, listing: Listing) -> None:
    """Make a damaged entry one that is being made, with its blocks noted; the lock is held."""
    part = _part(folder)
    try:
        meta = json.loads((folder / META).read_bytes())
        same = {"frames": 0, "transparent": 0, "warned": []}
        lines = [{"block": i, "sha256": s, **same} for i, s in enumerate(meta["blocks"])]
        lines[0].update({name: meta[name] for name in same})
        text = "".join(json.dumps(line) + "\n" for line in lines)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        text = ""
    try:
        write_atomically(folder / JOURNAL, text.encode())
        folder.rename(part)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _opened(folder: Path, listing: Listing) -> Entry:
    """Open an entry and compare it with its hashes.

    All blocks are compared where the file's time is not that of its making, else 16 of them.

    Raises:
        Damaged: it is missing, or differs from what was written.
    """
    try:
        meta = json.loads((folder / META).read_bytes())
        blocks = [str(sha256) for sha256 in meta["blocks"]]
        if meta["recipe"] != listing.place:
            raise Damaged("its recipe does not match its name")
        found = (folder / PIXELS).stat()
        file = PixelFile(folder / PIXELS, len(listing.labels), listing.shape)
        tally = Tally(frames=meta["frames"], transparent=meta["transparent"], warned=meta["warned"])
        stamp = meta["stamp"]
    except OSError as error:
        raise Damaged(f"{error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{META} is malformed") from error
    n, size = len(listing.labels), listing.block
    if found.st_size != listing.nbytes or len(blocks) != -(-n // size):
        raise Damaged(f"{PIXELS} does not have the size of its samples")
    chosen = range(len(blocks))
    if found.st_mtime_ns == stamp:
        chosen = range(0, len(blocks), -(-len(blocks) // SPOT_CHECKS))
    for number in chosen:
        rows = file.rows(np.arange(number * size, min(n, (number + 1) * size)))
        if hashlib.sha256(rows.data).hexdigest() != blocks[number]:
            raise Damaged(f"{PIXELS}: block {number} does not match its hash")
    if found.st_mtime_ns != stamp:  # copied, say: not all of it is compared again the next time
        with suppress(OSError, ClbenchError):
            text = json.dumps({**meta, "stamp": found.st_mtime_ns})
            write_atomically(folder / META, text.encode())
    return Entry(file, sha256_of(blocks), tally)


def _part(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def _unwritable(folder: Path, error: OSError) -> ClbenchError:
    return ClbenchError(
        f"the cache {folder.parent} cannot be written ({error.strerror}): set {CACHE_VARIABLE} to a "
        "writable folder"
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()
