"""A run folder's lock: by the system, and by a file with a heartbeat that other machines see.

The system's lock says at once that a process of this machine is gone. A file system may have none, or
one that holds on one machine alone; there the heartbeat decides. No clock of another machine is
trusted: a heartbeat that looks old is watched for some seconds before it is taken for a dead one.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from clbench.errors import ClbenchError
from clbench.util.atomic import storage

WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTSUP}
OWNER = ".owner"
"""The file with the heartbeat: ``{host, pid, token}``, touched while the run is running."""
BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
"""A heartbeat that is further from now than this looks like that of a process that is gone."""
WATCH_SECONDS = 35.0
"""How long one that looks so is watched: more than three beats."""
POLL_SECONDS = 0.5


class InUse(ClbenchError):
    """Another process has the folder."""


@contextmanager
def locked(folder: Path, say: Callable[[str], None], patience: float = 0.0) -> Iterator[None]:
    """Hold a run's folder alone.

    Args:
        folder: of the run.
        say: receives a line where the file system has no locks.
        patience: seconds to wait for another process to let go.

    Raises:
        InUse: another process has it.
        StorageError: the lock cannot be written.
    """
    until = time.monotonic() + patience
    lock = FileLock(folder / ".lock", timeout=0)
    has_lock = True
    try:
        _acquire(lock, folder, until)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, ClbenchError):
            raise
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            with storage(folder / ".lock"):
                raise
        say(f"{folder}: its file system has no locks; a file with a heartbeat stands in")
        has_lock = False
    try:
        with _heartbeat(folder / OWNER, until, has_lock):
            yield
    finally:
        if has_lock:
            lock.release()


def _acquire(lock: FileLock, folder: Path, until: float) -> None:
    while True:
        try:
            lock.acquire()
            return
        except Timeout as error:
            if time.monotonic() >= until:
                raise InUse(f"{folder}: another process is running this run") from error
        time.sleep(POLL_SECONDS)


@contextmanager
def _heartbeat(path: Path, until: float, has_lock: bool) -> Iterator[None]:
    """Hold a file that is created exclusively, and touch it every ``BEAT_SECONDS``."""
    owner = _take(path, until, has_lock)
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
        with suppress(OSError):
            if path.read_bytes() == owner:  # else another took it for a dead one's
                path.unlink()


def _take(path: Path, until: float, has_lock: bool) -> bytes:
    """Create the file, once it is nobody's; returns what is in it.

    Raises:
        InUse: it is another's, whose heart beats.
    """
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
    owner = json.dumps(mine).encode()
    while True:
        with storage(path), suppress(FileExistsError), path.open("xb") as file:
            file.write(owner)
            return owner
        try:
            found = _Beat.of(path)
        except FileNotFoundError:
            continue
        if (has_lock and found.host in (None, mine["host"])) or found.is_dead(path):
            _remove(path, found)
        elif time.monotonic() >= until:
            break
        else:
            time.sleep(POLL_SECONDS)
    raise InUse(
        f"{path.parent}: another process is running this run; if it is gone, wait two minutes"
    )


def _remove(path: Path, found: _Beat) -> None:
    """Remove the file of a dead process, and of no other: of several that try, one renames it."""
    aside = path.with_name(f"{OWNER}-{uuid.uuid4().hex}.part")
    try:
        path.rename(aside)
        if aside.read_bytes() != found.content:  # a living one was quicker: give it back
            with suppress(OSError):
                os.link(aside, path)
        aside.unlink()
    except FileNotFoundError:
        return


class _Beat:
    """What was seen of a heartbeat at one moment."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at
        try:
            data = json.loads(content)
            self.host: str | None = data.get("host") if isinstance(data, dict) else None
        except ValueError:  # its writer was killed
            self.host = None

    @classmethod
    def of(cls, path: Path) -> _Beat:
        with path.open("rb") as file:  # to open a file is what makes a network's cache look again
            return cls(file.read(4096), os.fstat(file.fileno()).st_mtime_ns)

    def is_dead(self, path: Path) -> bool:
        """Whether it looks old, or of a wrong clock, and does not beat while it is watched."""
        if abs(time.time() - self.at / 1e9) <= STALE_SECONDS:
            return False
        until = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < until:
            time.sleep(min(POLL_SECONDS, WATCH_SECONDS))
            try:
                now = _Beat.of(path)
            except FileNotFoundError:
                return False
            if (now.at, now.content) != (self.at, self.content):
                return False
        return True
