"""The latent cache: what was encoded by what, once, on disk.

An entry is a folder named by the hash of its recipe: ``latents.npy``, one ``(n, d)`` matrix, and
``meta.json``, which repeats the recipe and has the checksum of the matrix file. An entry is written
beside its place and renamed into it, under a lock, so that it is whole or not there, and two
processes encode once. Reading is checked: what is damaged is named and made anew.
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
from clbench.util.hashing import file_sha256, sha256_of

FORMAT = 1
"""Of an entry; one of another format is made anew."""
CACHE_VARIABLE = "CLBENCH_CACHE"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Meta:
    """``meta.json``: what an entry holds."""

    format: int
    data: str
    """Name of the data set, for people."""
    recipe: dict[str, Any]
    """All that the latents follow from; the entry's name is its hash."""
    shape: tuple[int, int]
    dtype: str
    sha256: str
    """Of the bytes of ``latents.npy``."""
    flops_per_sample: int
    """A multiply-add is two."""
    scale: float
    """Brings the latents of train to about the unit range: a power of two, at most 1."""
    seconds: float
    """That encoding took."""
    clbench: str
    made: str


class Damaged(Exception):
    """An entry that cannot be used; one line: why."""


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
    """What an entry says of itself.

    Raises:
        Damaged: it says nothing that could be used.
    """
    try:
        data = json.loads((folder / "meta.json").read_bytes())
        if data["format"] != FORMAT:
            raise Damaged(f"made by another version (format {data['format']}, not {FORMAT})")
        meta = Meta(**{**data, "shape": tuple(data["shape"])})
        if key_of(meta.recipe) != folder.name:
            raise Damaged("is of another recipe than its name says")
    except OSError as error:
        raise Damaged(f"meta.json: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damaged("meta.json is not what the cache writes") from error
    return meta


def check(folder: Path) -> Meta:
    """What an entry says of itself, its latents read once and compared with their checksum.

    Raises:
        Damaged: they are not what was written.
    """
    meta = read_meta(folder)
    try:
        found = file_sha256(folder / "latents.npy")
    except OSError as error:
        raise Damaged(f"latents.npy: {error.strerror}") from error
    if found != meta.sha256:
        raise Damaged("latents.npy is not what was written (checksum)")
    return meta


def open_checked(folder: Path) -> tuple[np.ndarray, Meta]:
    """An entry's ``(n, d)`` latents, memory-mapped (written to, they change in memory alone).

    Raises:
        Damaged: see ``check``.
    """
    meta = check(folder)
    try:
        latents = np.load(folder / "latents.npy", mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Damaged("latents.npy is not a matrix") from error
    if latents.shape != meta.shape or latents.dtype.name != meta.dtype:
        raise Damaged("latents.npy has not the shape and dtype that meta.json says")
    return latents, meta


def fetch(
    recipe: Mapping[str, Any],
    make: Callable[[Path], Meta],
    warn: Callable[[str], None],
) -> tuple[np.ndarray, Meta]:
    """An entry's latents, from the cache or made now; processes that want the same one wait.

    Args:
        recipe: what they follow from.
        make: writes ``latents.npy`` into the folder it is given and says what it holds; the
            checksum is entered afterwards.
        warn: told, in a line, of an entry that is damaged and made anew.

    Raises:
        ClbenchError: the cache cannot be written.
    """
    folder = root() / key_of(recipe)
    try:
        return open_checked(folder)
    except Damaged:
        pass  # not there, or being replaced, or damaged: seen again once the lock is ours
    with _locked(folder):
        if folder.exists():
            try:
                return open_checked(folder)
            except Damaged as why:
                warn(f"warning: cache entry {folder.name}: {why}; encoding anew")
        with _writing(folder) as part:
            meta = make(part)
            meta = dataclasses.replace(meta, sha256=file_sha256(part / "latents.npy"))
            text = json.dumps(dataclasses.asdict(meta), indent=1, allow_nan=False)
            (part / "meta.json").write_text(text + "\n", encoding="utf-8")
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
            "to a folder that can"
        ) from error


@contextmanager
def _writing(folder: Path) -> Iterator[Path]:
    """A folder beside an entry's place, which becomes the entry at the end; the lock is held."""
    for left in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    part = Path(tempfile.mkdtemp(".part", f".{folder.name}.", folder.parent))
    try:
        yield part
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def entries(pattern: str = "*") -> list[Path]:
    """The entries whose name, encoder or data match a shell pattern, the oldest first."""
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
    """Remove an entry; whoever has it open keeps what they have."""
    with _locked(folder):
        shutil.rmtree(folder)


def size_of(folder: Path) -> int:
    """Bytes of an entry's files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def now() -> str:
    """The time in UTC, as records have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
