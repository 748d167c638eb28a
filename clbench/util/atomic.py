"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clbench.errors import StorageError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, also when killed at any moment.

    Raises:
        StorageError: there is no room, no permission or no such device; the old file is as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage(path):
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        StorageError: it cannot be made.
    """
    with storage(path):
        path.mkdir(parents=True, exist_ok=True)


def sweep_parts(folder: Path) -> None:
    """Remove what killed writers left in a folder; only for whoever has its lock."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one line that names the path.

    Raises:
        StorageError: in place of an OSError.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:197]}..."
        raise StorageError(f"{shown}: cannot be written ({reason})") from error


def _sync(folder: Path) -> None:
    """Make a rename last through a loss of power, where the system can."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:  # some file systems have no such thing for folders
        pass
    finally:
        os.close(number)
