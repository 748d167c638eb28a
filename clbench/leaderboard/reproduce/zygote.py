"""The process that workers are forked from: it has imported torch and nothing of any entry.

``python -m clbench.leaderboard.reproduce.zygote FD NAMESPACES`` answers one request at a time on the
socket FD: a JSON line, with the file descriptors of a new worker where one is started.

==========================  =========================================================
``{"start": n}`` and fds    forks worker n; its pipes are the three fds (in, out, errors)
``{"cpu": n}``              its CPU seconds so far
``{"stop": n}``             kills it and all that it started; returns how it ended
``{"ending": n}``           waits for its end, at most 5 s; returns how it ended
==========================  =========================================================

Between this process and a worker stands a *keeper*, which never runs code of an entry. Where user
namespaces work, it makes namespaces of the worker's own: process ids, with a /proc that shows the
worker alone; mounts, where the folders of other workers are hidden; network; shared memory. The
worker is process 1 there, so that its end is the end of all that it started.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

NEW_NAMESPACES = 0x20000 | 0x20000000 | 0x40000000 | 0x08000000
"""CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET and CLONE_NEWIPC."""
PRIVATE = 1 << 14 | 1 << 18
"""MS_REC and MS_PRIVATE."""
PATIENCE = 5.0
"""Seconds to wait for the end of a worker that has closed its pipe."""
MOST_FILES = 1 << 16


class Worker:
    """A forked worker, as this process knows it."""

    def __init__(self, keeper: int, status: int) -> None:
        self.keeper, self.status = keeper, status
        self.said = b""
        self._read_until(b"\n", PATIENCE)
        first = self.said.partition(b"\n")[0].decode()
        self.pid = int(first) if first.isdigit() else 0
        self.fault = "" if self.pid else first or "the process does not start"

    def cpu(self) -> float:
        """CPU seconds of all its threads; of a worker that has ended, those of its whole life."""
        try:
            return time.clock_gettime(~self.pid << 3 | 2)
        except OSError:
            self._read_until(b"", PATIENCE)
            return float(self.ending().get("cpu", 0.0))

    def stop(self) -> dict[str, Any]:
        """End it and all it started."""
        with suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """Wait for its end, for a while."""
        self._read_until(b"", PATIENCE)
        return self.ending()

    def ending(self) -> dict[str, Any]:
        """How it ended: ``{code, cpu}``; empty while it runs."""
        lines = self.said.splitlines()
        found: dict[str, Any] = json.loads(lines[1]) if len(lines) > 1 else {}
        return found

    def close(self) -> None:
        """Forget it; it has ended."""
        os.close(self.status)
        os.waitpid(self.keeper, 0)

    def _read_until(self, mark: bytes, seconds: float) -> None:
        """Read what the keeper says, until a mark or its end."""
        deadline = time.monotonic() + seconds
        while not mark or mark not in self.said:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.status], [], [], left)[0]:
                return
            part = os.read(self.status, 4096)
            if not part:
                return
            self.said += part


def main() -> None:
    """Serve the parent until it closes the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    namespaces = sys.argv[2] == "1"
    _import()
    control.sendall(b"{}\n")
    workers: dict[int, Worker] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(control, 4096, 3)
        if not data:
            return
        answer: dict[str, Any] = {}
        for what, number in json.loads(data).items():
            if what == "start":
                workers[number] = worker = _fork(fds, namespaces)
                answer = {"fault": worker.fault}
            elif what == "cpu":
                answer = {"cpu": workers[number].cpu()}
            elif what == "ending":
                answer = workers[number].wait()
            elif what == "stop":
                worker = workers.pop(number)
                answer = worker.stop()
                worker.close()
        control.sendall(json.dumps(answer).encode() + b"\n")


def _import() -> None:
    """Import what every worker needs, so that none has to."""
    import torch
    import torch._dynamo  # by torch's optimizers, when the first of them is made

    import clbench.configure.typed
    import clbench.engine.counting
    import clbench.leaderboard.reproduce.isolated_worker
    import clbench.plugins.registry
    import clbench.replay
    import clbench.seeding  # noqa: F401
    from clbench.leaderboard.reproduce import hygiene

    hygiene.readable()
    # No parallel work here: a fork takes none of the threads with it.
    assert torch.get_num_threads() >= 1


def _fork(fds: list[int], namespaces: bool) -> Worker:
    status, said = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        _keep(fds, said, namespaces)
    os.close(said)
    for fd in fds:
        os.close(fd)
    return Worker(keeper, status)


def _keep(fds: list[int], said: int, namespaces: bool) -> NoReturn:
    """Fork the worker into namespaces of its own, and say its number and how it ended."""
    code = 1
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if namespaces and libc.unshare(NEW_NAMESPACES):
            raise OSError(ctypes.get_errno(), "unshare")
        pid = os.fork()
        if pid == 0:
            _work(fds, namespaces)
        for fd in fds:
            os.close(fd)
        os.write(said, f"{pid}\n".encode())
        _, status, usage = os.wait4(pid, 0)
        ending = {
            "code": os.waitstatus_to_exitcode(status),
            "cpu": usage.ru_utime + usage.ru_stime,
        }
        os.write(said, json.dumps(ending).encode() + b"\n")
        code = 0
    except OSError as error:
        os.write(said, f"{error.filename or error.strerror}\n".encode())
    finally:
        os._exit(code)


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
            if libc.mount(None, b"/", None, PRIVATE, None) or libc.mount(
                b"proc", b"/proc", b"proc", 0, None
            ):
                raise OSError(ctypes.get_errno(), "mount")
        from clbench.leaderboard.reproduce import isolated_worker

        isolated_worker.main(is_alone=namespaces)
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
