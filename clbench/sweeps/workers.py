"""Worker processes: each does one job at a time; one that dies is named, and the others go on.

A worker notices that its parent is gone, however it went, by a pipe whose other end only the parent
holds. Closing that end is also how the parent asks all workers to stop after the current step.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from clbench.util import stopping

POLL_SECONDS = 0.2
"""How soon the parent sees a signal."""
PATIENCE_SECONDS = 20.0
"""How long a worker may take to end once nobody waits for its result."""

Job = TypeVar("Job")
Result = TypeVar("Result")
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Died:
    """A worker that ended without a result."""

    number: int
    """Of the job that it did."""
    reason: str
    """``was killed by SIGKILL`` or ``ended with exit code 3``"""


@dataclass(frozen=True)
class Dropped:
    """A job that was not begun, because a signal came before."""

    number: int


@dataclass
class _Worker(Generic[Job]):
    process: BaseProcess
    pipe: Connection
    number: int | None = None
    """The job that it does; None: it is idle."""


def in_processes(
    jobs: Sequence[Job],
    work: Callable[[int, Job, Stop], Result],
    n_workers: int,
    threads: int,
) -> Iterator[Result | Died | Dropped]:
    """Do jobs in spawned processes; yield results as they come, for each job one.

    After a signal nothing more is started, and the jobs at hand are asked to stop.

    Args:
        jobs: what is to be done; they and the results are pickled.
        work: a function of a module, called with the number of a job, the job, and a function that
            says whether to stop.
        n_workers: processes.
        threads: of torch in each.

    Raises:
        KeyboardInterrupt: a second signal came; the workers were killed.
    """
    pool = _Pool[Job](work, threads)
    todo = list(enumerate(jobs))[::-1]
    try:
        with stopping.deferred() as signalled:
            while True:
                if signalled():
                    pool.ask_to_stop()
                    yield from (Dropped(number) for number, _ in todo)
                    todo.clear()
                while todo and (worker := pool.free(n_workers)) is not None:
                    pool.give(worker, *todo.pop())
                if not todo:
                    pool.dismiss_idle()
                if not pool.busy():
                    return
                yield from pool.results()
    finally:
        pool.close()


class _Pool(Generic[Job]):
    def __init__(self, work: Callable[..., Any], threads: int) -> None:
        self.context = get_context("spawn")
        self.work, self.threads = work, threads
        self.alive_read, self.alive_write = self.context.Pipe(duplex=False)
        if os.name == "posix":
            # Else the first worker's start would start it, which lets SIGINT and SIGTERM in.
            resource_tracker.ensure_running()
        self.workers: list[_Worker[Job]] = []

    def free(self, n_workers: int) -> _Worker[Job] | None:
        """An idle worker, a new one if there may be more, or None."""
        for worker in self.workers:
            if worker.number is None:
                return worker
        if len(self.workers) >= n_workers:
            return None
        here, there = self.context.Pipe()
        process = self.context.Process(
            target=_serve, args=(there, self.alive_read, self.work, self.threads), daemon=True
        )
        with stopping.held():  # a process that starts has no handlers yet
            process.start()
        there.close()
        self.workers.append(_Worker(process, here))
        return self.workers[-1]

    def give(self, worker: _Worker[Job], number: int, job: Job) -> None:
        worker.number = number
        with suppress(OSError):  # it is dead; its end is seen where results are waited for
            worker.pipe.send((number, job))

    def busy(self) -> list[_Worker[Job]]:
        return [worker for worker in self.workers if worker.number is not None]

    def results(self) -> Iterator[Any]:
        """Whatever has come or died since, after at most ``POLL_SECONDS``."""
        ready = wait([worker.pipe for worker in self.busy()], POLL_SECONDS)
        for worker in self.busy():
            if worker.pipe not in ready:
                continue
            number, worker.number = worker.number, None
            assert number is not None
            try:
                result, leaves = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                result, leaves = Died(number, _how(worker.process.exitcode)), True
            if leaves:
                self.workers.remove(worker)
            yield result

    def dismiss_idle(self) -> None:
        for worker in [w for w in self.workers if w.number is None]:
            worker.pipe.close()
            self.workers.remove(worker)
            worker.process.join(PATIENCE_SECONDS)

    def ask_to_stop(self) -> None:
        self.alive_write.close()

    def close(self) -> None:
        """End all workers; those that have a job are killed, which loses no more than a step."""
        self.ask_to_stop()
        for worker in self.workers:
            if worker.number is not None:
                worker.process.kill()
            worker.pipe.close()
        for worker in self.workers:
            worker.process.join(PATIENCE_SECONDS)
        self.alive_read.close()


def _how(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        memory = " (out of memory?)" if name == "SIGKILL" else ""
        return f"was killed by {name}{memory}"
    return f"ended with exit code {exitcode}"


def _serve(pipe: Connection, alive: Connection, work: Callable[..., Any], threads: int) -> None:
    """Do jobs until the parent has none or is gone; after a signal, answer the job at hand and end.

    No job is taken and left without an answer: one that comes after the signal stops at its start.
    While torch is imported, which takes long on a busy machine, there is nothing to finish: a worker
    whose parent is gone ends there and then.
    """
    with stopping.deferred() as signalled:
        stopping.let_in()
        stopped, begun = threading.Event(), threading.Event()

        def watch() -> None:
            with suppress(EOFError, OSError):
                alive.recv_bytes()
            stopped.set()
            while not begun.wait(POLL_SECONDS):
                if _is_orphan():
                    os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
        import torch

        torch.set_num_threads(threads)
        begun.set()
        leaves = False
        while not leaves:
            try:
                number, job = pipe.recv()
                result = work(number, job, lambda: stopped.is_set() or signalled())
                leaves = signalled()
                pipe.send((result, leaves))
            except (EOFError, OSError, KeyboardInterrupt):
                break
        stopping.keep_out()  # nothing is left to stop, while Python shuts down


def _is_orphan() -> bool:
    parent = parent_process()
    return parent is not None and parent.pid != os.getppid()
