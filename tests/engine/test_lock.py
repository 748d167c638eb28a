"""A run folder is held by one process, whatever its file system can do."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
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
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.05)
    owner = tmp_path / ".owner"
    owner.write_text("{}")
    old = time.time() - 2 * lock.STALE_SECONDS
    os.utime(owner, (old, old))
    with lock.locked(tmp_path, lambda line: None):
        assert owner.read_text() != "{}"


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("has_locks", [True, False])
def test_a_machine_whose_clock_is_an_hour_off_keeps_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, has_locks: bool
):
    """Its heart is seen to beat, by whatever clock; also where a lock holds on one machine alone."""
    if not has_locks:
        monkeypatch.setattr(FileLock, "acquire", without_locks(errno.ENOLCK))
    monkeypatch.setattr(lock, "WATCH_SECONDS", 5.0)
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.02)
    owner, done = tmp_path / ".owner", threading.Event()
    owner.write_text('{"host": "far", "pid": 1, "token": "x"}')

    def beat() -> None:
        while not done.wait(0.05):
            at = time.time() + hours * 3600
            os.utime(owner, (at, at))

    at = time.time() + hours * 3600
    os.utime(owner, (at, at))
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with (
            pytest.raises(lock.InUse, match="another process"),
            lock.locked(tmp_path, lambda line: None),
        ):
            pass
    finally:
        done.set()
        thread.join()
    assert '"far"' in owner.read_text()
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.2)
    with lock.locked(tmp_path, lambda line: None):  # it has stopped: its run is gone on with
        assert '"far"' not in owner.read_text()


def test_a_process_of_this_machine_that_is_gone_is_known_at_once(tmp_path: Path):
    """The system's lock says so: nobody waits for its heart."""
    owner = tmp_path / ".owner"
    owner.write_text(json.dumps({"host": socket.gethostname(), "pid": 1, "token": "x"}))
    with lock.locked(tmp_path, lambda line: None):
        assert '"x"' not in owner.read_text()


def test_one_who_waits_is_let_in_when_the_other_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.02)
    order: list[str] = []
    held = threading.Event()

    def first() -> None:
        with lock.locked(tmp_path, order.append):
            held.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait()
    with lock.locked(tmp_path, order.append, patience=60):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_of_many_that_take_over_from_a_dead_one_each_has_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FileLock, "acquire", without_locks(errno.ENOLCK))
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.01)
    owner = tmp_path / ".owner"
    owner.write_text("{}")
    os.utime(owner, (0, 0))
    inside, most, entered = 0, 0, 0
    guard = threading.Lock()

    def enter() -> None:
        nonlocal inside, most, entered
        with lock.locked(tmp_path, lambda line: None, patience=60):
            with guard:
                inside, entered = inside + 1, entered + 1
                most = max(most, inside)
            time.sleep(0.02)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (entered, most) == (8, 1)
    assert not list(tmp_path.glob(".owner*"))


def test_other_errors_of_the_system_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FileLock, "acquire", without_locks(errno.EROFS))
    with (
        pytest.raises(StorageError, match="Read-only") as caught,
        lock.locked(tmp_path, lambda line: None),
    ):
        pass
    assert "\n" not in str(caught.value)
