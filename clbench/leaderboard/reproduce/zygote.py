"""The process that workers are forked from: it has imported torch and nothing of any entry.

``python -m clbench.leaderboard.reproduce.zygote FD NAMESPACES REHEARSES`` answers one request at a time
on the socket FD: a JSON line, with the file descriptors of a new worker where one is started.

==========================  =========================================================
``{"start": n}`` and fds    forks worker n; its pipes are the three fds (in, out, errors)
``{"cpu": n}``              its CPU seconds so far
``{"stop": n}``             kills it and all that it started; returns how it ended
``{"ending": n}``           waits for its end, at most 5 s; returns how it ended
==========================  =========================================================

Where user namespaces work, a worker has namespaces of its own: process ids, with a /proc that shows it
alone; mounts, where the folders of other workers are hidden; network; shared memory. It is process 1
there, so that its end is the end of all that it started. This process never runs code of an entry.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

NEW_PIDS, OTHERS = 0x20000000, 0x20000 | 0x40000000 | 0x08000000
"""CLONE_NEWPID; CLONE_NEWNS, CLONE_NEWNET and CLONE_NEWIPC."""
PRIVATE = 1 << 14 | 1 << 18
"""MS_REC and MS_PRIVATE."""
PATIENCE = 5.0
"""Seconds to wait for the end of a worker that has closed its pipe."""
POLL = 0.001
"""Seconds between two questions whether a worker has ended."""
MOST_FILES = 1 << 16


class Worker:
    """A forked worker, as this process knows it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: dict[str, Any] = {}
        """How it ended: ``{code, cpu}``; empty while it runs."""

    def cpu(self) -> float:
        """CPU seconds of all its threads; of a worker that has ended, those of its whole life."""
        if not self.ended:
            try:
                return time.clock_gettime(~self.pid << 3 | 2)
            except OSError:
                self.wait()
        return float(self.ended.get("cpu", 0.0))

    def stop(self) -> dict[str, Any]:
        """End it and all it started."""
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """Wait for its end, for a while; returns ``ended``."""
        deadline = time.monotonic() + PATIENCE
        while not self.ended:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.ended = {"code": code, "cpu": usage.ru_utime + usage.ru_stime}
            elif time.monotonic() > deadline:
                break
            else:
                time.sleep(POLL)
        return self.ended


def main() -> None:
    """Serve the parent until it closes the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    namespaces, rehearses = (argument == "1" for argument in sys.argv[2:])
    _import()
    _make_forks_cheap(rehearses)
    fork = _Fork() if namespaces else os.fork
    control.sendall(b"{}\n")
    workers: dict[int, Worker] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(control, 4096, 3)
        if not data:
            return
        answer: dict[str, Any] = {}
        for what, number in json.loads(data).items():
            if what == "start":
                try:
                    workers[number] = _started(fork, fds, namespaces)
                    answer = {"fault": ""}
                except OSError as error:
                    answer = {"fault": error.strerror or str(error)}
            elif what == "cpu":
                answer = {"cpu": workers[number].cpu()}
            elif what == "ending":
                answer = workers[number].wait()
            elif what == "stop":
                answer = workers.pop(number).stop()
        control.sendall(json.dumps(answer).encode() + b"\n")


def _import() -> None:
    """Import what every worker needs, so that none has to."""
    import torch
    import torch._dynamo  # by torch's optimizers, when the first of them is made

    import clbench.configure.typed
    import clbench.engine.builds
    import clbench.engine.counting
    import clbench.leaderboard.reproduce.isolated_worker
    import clbench.model
    import clbench.nets.head
    import clbench.plugins.form
    import clbench.plugins.registry
    import clbench.replay
    import clbench.seeding  # noqa: F401
    from clbench.leaderboard.reproduce import hygiene

    hygiene.readable()
    # No parallel work here: a fork takes none of the threads with it.
    assert torch.get_num_threads() >= 1


def _make_forks_cheap(rehearses: bool) -> None:
    """Do once what every worker would; without ``rehearses`` as little as leaves a driver alone."""
    from clbench.leaderboard.reproduce import rehearsal

    if rehearses:
        with tempfile.TemporaryDirectory() as folder:
            rehearsal.rehearse(Path(folder))
    rehearsal.collapse()


def _started(fork: Callable[[], int], fds: list[int], namespaces: bool) -> Worker:
    """Fork a worker with three pipes.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        pid = fork()
        if pid == 0:
            _work(fds, namespaces)
    finally:
        for fd in fds:
            os.close(fd)
    return Worker(pid)


class _Fork:
    """Forks processes of which each is the first of a new namespace of process ids."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def __call__(self) -> int:
        """As ``os.fork``.

        Raises:
            OSError: the kernel refuses.
        """
        # A new namespace can only be asked for from one's own, and the last fork left that.
        _check(self.libc.setns(self.own, NEW_PIDS), "setns")
        _check(self.libc.unshare(NEW_PIDS), "unshare")
        return os.fork()


def _check(failed: int, name: str) -> None:
    """Take what a call of libc returned.

    Raises:
        OSError: it is not 0; says which call failed, and why.
    """
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _work(fds: list[int], namespaces: bool) -> NoReturn:
    """Be the worker: keep three pipes and nothing else that was open."""
    code = 1
    try:
        for fd in fds:  # out of the way of the numbers they are to have
            os.dup2(fd, 100 + fds.index(fd))
        for number in range(3):
            os.dup2(100 + number, number)
        os.closerange(3, MOST_FILES)
        os.setsid()
        if namespaces:
            libc = ctypes.CDLL(None, use_errno=True)
            _check(libc.unshare(OTHERS), "unshare")
            _check(libc.mount(None, b"/", None, PRIVATE, None), "mount")
            _check(libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount")
        from clbench.leaderboard.reproduce import isolated_worker

        isolated_worker.main(is_alone=namespaces)
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
