"""A run folder is held by one process, whatever its file system can do."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from clbench.engine import lock
from clbench.errors import ClbenchError, StorageError


def without_locks(number: int):
    """What a file system without locks does."""

    def acquire(self: FileLock, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return acquire


def test_two_at_a_time_are_refused(tmp_path: Path):
    said: list[str] = []
    with (
        lock.locked(tmp_path, said.append),
        pytest.raises(ClbenchError, match="another process"),
        lock.locked(tmp_path, said.append),
    ):
        pass
    with lock.locked(tmp_path, said.append):
        pass
    assert said == []


@pytest.mark.parametrize("number", sorted(lock.WITHOUT_LOCKS))
def test_a_file_with_a_heartbeat_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    monkeypatch.setattr(FileLock, "acquire", without_locks(number))
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    said: list[str] = []
    owner = tmp_path / ".owner"
    with lock.locked(tmp_path, said.append):
        assert len(said) == 1
        assert "no locks" in said[0]
        os.utime(owner, (0, 0))
        until = time.monotonic() + 20
        while owner.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert owner.stat().st_mtime > 0, "it beats"
        with (
            pytest.raises(ClbenchError, match="another process"),
            lock.locked(tmp_path, said.append),
        ):
            pass
    assert not owner.exists()


def test_the_file_of_a_process_that_is_gone_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FileLock, "acquire", without_locks(errno.ENOLCK))
    owner = tmp_path / ".owner"
    owner.write_text("{}")
    old = time.time() - 2 * lock.STALE_SECONDS
    os.utime(owner, (old, old))
    with lock.locked(tmp_path, lambda line: None):
        assert owner.read_text() != "{}"


def test_other_errors_of_the_system_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FileLock, "acquire", without_locks(errno.EROFS))
    with (
        pytest.raises(StorageError, match="Read-only") as caught,
        lock.locked(tmp_path, lambda line: None),
    ):
        pass
    assert "\n" not in str(caught.value)
