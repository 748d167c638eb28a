"""The latent cache: encoded data sets on disk.

An entry is a folder named by the hash of its recipe. It holds ``latents.npy``, one ``(n, d)`` matrix,
and ``meta.json``, which repeats the recipe and has the checksum of the matrix file. An entry is written
to a temporary folder and renamed, under a lock, so that it is never incomplete, and two
processes encode once. Reading checks the entry: a damaged one is reported and encoded again.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from clbench.errors import ClbenchError
from clbench.util import seal
from clbench.util.hashing import file_sha256, sha256_of

FORMAT = 1
"""Format of an entry; an entry of another format is encoded again."""
CACHE_VARIABLE = "CLBENCH_CACHE"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Meta:
    """The content of ``meta.json``."""

    format: int
    data: str
    """Name of the data set, for people."""
    recipe: dict[str, Any]
    """Everything that determines the latents; its hash is the entry's name."""
    shape: tuple[int, int]
    dtype: str
    sha256: str
    """Hash of the bytes of ``latents.npy``."""
    flops_per_sample: int
    """Operations per sample; a multiply-add counts as two."""
    scale: float
    """Brings the latents of train to about the unit range: a power of two."""
    seconds: float
    """Seconds that the encoding took."""
    clbench: str
    made: str


class Damaged(Exception):
    """The entry cannot be used; the message says why."""


def home() -> Path:
    """``$CLBENCH_CACHE``, or ``~/.cache/clbench`` (``$XDG_CACHE_HOME``)."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "clbench"


def root() -> Path:
    """Where the latents are: ``latents`` in the cache's folder."""
    return home() / "latents"


def key_of(recipe: Mapping[str, Any]) -> str:
    """The name of a recipe's entry."""
    return sha256_of(recipe)[:KEY_LENGTH]


def read_meta(folder: Path) -> Meta:
    """Read the metadata of an entry.

    Raises:
        Damaged: the metadata cannot be used.
    """
    try:
        data = json.loads((folder / "meta.json").read_bytes())
        if data["format"] != FORMAT:
            raise Damaged(f"made by another version (format {data['format']}, not {FORMAT})")
        if wrong := seal.fault(data):
            raise Damaged(f"meta.json: {wrong}")
        data.pop(seal.KEY, None)
        meta = Meta(**{**data, "shape": tuple(data["shape"])})
        if key_of(meta.recipe) != folder.name:
            raise Damaged("its recipe does not match its name")
    except OSError as error:
        raise Damaged(f"meta.json: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damaged("meta.json is malformed") from error
    return meta


def check(folder: Path) -> Meta:
    """Read the metadata of an entry and compare its latents with their checksum.

    Raises:
        Damaged: the latents differ from what was written.
    """
    meta = read_meta(folder)
    try:
        found = file_sha256(folder / "latents.npy")
    except OSError as error:
        raise Damaged(f"latents.npy: {error.strerror}") from error
    if found != meta.sha256:
        raise Damaged("latents.npy does not match its checksum")
    return meta


def open_checked(folder: Path) -> tuple[np.ndarray, Meta]:
    """Map an entry's ``(n, d)`` latents into memory; writes to them do not reach the file.

    Raises:
        Damaged: see ``check``.
    """
    meta = check(folder)
    try:
        latents = np.load(folder / "latents.npy", mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Damaged("latents.npy is not a matrix") from error
    if latents.shape != meta.shape or latents.dtype.name != meta.dtype:
        raise Damaged("latents.npy does not have the shape and dtype of meta.json")
    return latents, meta


def fetch(
    recipe: Mapping[str, Any],
    make: Callable[[Path], Meta],
    warn: Callable[[str], None],
) -> tuple[np.ndarray, Meta]:
    """Return an entry's latents, encoded now if they are not cached; other processes wait.

    Args:
        recipe: what determines the latents.
        make: writes ``latents.npy`` into the given folder and returns the metadata; the
            checksum is added afterwards.
        warn: called with a line if a damaged entry is encoded again.

    Raises:
        ClbenchError: the cache cannot be written.
    """
    folder = root() / key_of(recipe)
    try:
        return open_checked(folder)
    except Damaged:
        pass  # missing, being replaced or damaged: checked again under the lock
    with _locked(folder):
        if folder.exists():
            try:
                return open_checked(folder)
            except Damaged as why:
                warn(f"warning: cache entry {folder.name}: {why}; encoding again")
        with _writing(folder) as part:
            meta = make(part)
            meta = dataclasses.replace(meta, sha256=file_sha256(part / "latents.npy"))
            (part / "meta.json").write_bytes(seal.sealed(dataclasses.asdict(meta)))
        return open_checked(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            yield
    except OSError as error:
        raise ClbenchError(
            f"the cache {folder.parent} cannot be written ({error.strerror}): set {CACHE_VARIABLE} "
            "to a writable folder"
        ) from error


@contextmanager
def _writing(folder: Path) -> Iterator[Path]:
    """Open a temporary folder that becomes the entry at the end; the caller holds the lock."""
    for left in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)  # left by a process that was killed
    part = Path(tempfile.mkdtemp(".part", f".{folder.name}.", folder.parent))
    try:
        yield part
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def entries(pattern: str = "*") -> list[Path]:
    """List the entries whose name, encoder or data match a shell pattern, the oldest first."""
    folder = root()
    if not folder.is_dir():
        return []
    found = [
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and _matches(path, pattern)
    ]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name))


def _matches(path: Path, pattern: str) -> bool:
    names = [path.name]
    try:
        meta = read_meta(path)
        names += [meta.data, str(meta.recipe.get("encoder"))]
    except Damaged:
        pass
    return any(fnmatchcase(name, pattern) for name in names) or path.name.startswith(pattern)


def clear(folder: Path) -> None:
    """Remove an entry; processes that have it open can still read it."""
    with _locked(folder):
        shutil.rmtree(folder)


def size_of(folder: Path) -> int:
    """Bytes of an entry's files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def now() -> str:
    """The time in UTC, in the format of records."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
