"""New processes that start quickly."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context

SLOW = ("torch._dynamo", "sklearn.datasets")
"""Imported by most runs, for a second or two: by torch's optimizers when the first of them is made, and
for the default data."""


def fresh_process() -> ProcessPoolExecutor:
    """One new process that knows nothing of this one but its environment variables.

    Where there is a fork server, it is a copy of a process that has imported the engine and done
    nothing else: no plug-in, no state, but torch need not be imported again, which takes longer than
    most of what is done in such a process. Elsewhere it is spawned.
    """
    server = "forkserver" in get_all_start_methods()
    context = get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload(["clbench.engine.execute", *SLOW])
    # The server's environment is that of the moment it was started.
    return ProcessPoolExecutor(
        1, mp_context=context, initializer=_take_over, initargs=(dict(os.environ),)
    )


def _take_over(environment: dict[str, str]) -> None:
    os.environ.update(environment)
