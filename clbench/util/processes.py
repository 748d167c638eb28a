"""Starts new processes quickly."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext

SLOW = ("torch._dynamo", "sklearn.datasets")
"""Imported by most runs, for a second or two: by torch's optimizers when the first of them is made, and
for the default data."""


def fresh_process() -> ProcessPoolExecutor:
    """Start a process that shares nothing with this one except environment variables.

    If the system has a fork server, the process is a copy of one that has only imported the engine:
    no plug-in and no state, but torch is not imported again, which would take longer than most tasks
    of such a process. On other systems it is spawned.
    """
    # The server keeps the environment of the moment it was started.
    return ProcessPoolExecutor(
        1, mp_context=fresh_context(), initializer=_take_over, initargs=(dict(os.environ),)
    )


def fresh_context() -> BaseContext:
    """What starts such processes, without the environment variables."""
    server = "forkserver" in get_all_start_methods()
    context = get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload(["clbench.engine.execute", *SLOW])
    return context


def _take_over(environment: dict[str, str]) -> None:
    os.environ.update(environment)
