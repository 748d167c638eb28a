"""A run folder's lock: by the system, or, where the disk has none, by a file with a heartbeat."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from clbench.errors import ClbenchError
from clbench.util.atomic import storage

WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTSUP}
BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
"""A heartbeat older than this is that of a process that is gone."""


@contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a run's folder alone.

    Raises:
        ClbenchError: another process has it.
        StorageError: the lock cannot be written.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ClbenchError(f"{folder}: another process is running this run") from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            with storage(folder / ".lock"):
                raise
        say(f"{folder}: its file system has no locks; a file with a heartbeat stands in")
        with _heartbeat(folder / ".owner"):
            yield
        return
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _heartbeat(path: Path) -> Iterator[None]:
    """Hold a file that is created exclusively, and touch it every ``BEAT_SECONDS``."""
    _take(path)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_SECONDS):
            try:
                os.utime(path)
            except OSError:  # the folder was removed: nothing is left to hold
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        path.unlink(missing_ok=True)


def _take(path: Path) -> None:
    owner = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
    for _ in range(2):
        with storage(path), suppress(FileExistsError), path.open("xb") as file:
            file.write(owner)
            return
        try:
            old = time.time() - path.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            continue
        if not old:
            break
        path.unlink(missing_ok=True)
    raise ClbenchError(
        f"{path.parent}: another process is running this run; if it is gone, wait two minutes"
    )
