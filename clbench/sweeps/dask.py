"""Dask: by address, else workers on this machine. A job is a command that a Dask worker starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from clbench.errors import UsageError
from clbench.sweeps.command import run_command, sees
from clbench.sweeps.engine import Job, Needs, command, environment, python
from clbench.sweeps.home import Home
from clbench.util.optional import require

ENDED = ("memory", "erred", "forgotten", "released")
"""States of a task, as the scheduler calls them."""
SECONDS = 20
"""How long a scheduler may take to answer."""


class Dask:
    """Hands commands to Dask. By address they outlive this process; else it must stay."""

    def __init__(self, address: str) -> None:
        """Choose a scheduler, ``tcp://HOST:PORT`` or ``HOST:PORT``; empty: a local cluster."""
        self.address = address
        self.stays = not address
        self.client: Any = None
        self.cluster: Any = None
        self.futures: list[Any] = []

    def open(self) -> None:
        """Connect to a scheduler, if there is an address.

        Raises:
            UsageError: dask is not installed, or nothing answers.
        """
        require("distributed", "--on dask", "dask")
        if not self.address:
            return
        distributed = import_module("distributed")
        try:
            self.client = distributed.Client(self.address, timeout=SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            reason = str(error).strip().splitlines()[0]
            raise UsageError(f"--on dask:{self.address}: cannot be reached ({reason})") from error

    def check(self, home: Home, n_jobs: int, needs: Needs) -> None:
        """Refuse workers without what a run needs, and a folder that one of them does not see."""
        if self.client is None:
            self._start(needs)
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise UsageError(f"--on dask:{self.address}: the scheduler has no workers yet")
        if needs.gpu and not any(worker["resources"].get("GPU") for worker in workers.values()):
            raise UsageError(
                "--on dask: runs ask for device=cuda, and no worker offers a GPU; start them with "
                "dask worker ADDRESS --resources GPU=1"
            )
        if not self.address:
            return
        try:
            there = self.client.run(sees, str(home.plan))
        except Exception as error:  # whatever a machine without clbench raises
            raise UsageError(
                f"--on dask: clbench does not run on every worker ({type(error).__name__}: {error})"
            ) from error
        blind = [worker for worker, is_there in there.items() if not is_there]
        if blind:
            raise UsageError(
                f"--out {home.out}: {blind[0]} does not see it; give a folder that all share"
            )

    def _start(self, needs: Needs) -> None:
        distributed = import_module("distributed")
        slots = needs.at_once or max(1, (os.cpu_count() or 1) // needs.cpus)
        # A GPU of this machine is shared among the workers, by as much as a job takes of it.
        gpus = {"resources": {"GPU": needs.gpus}} if needs.gpu else {}
        self.cluster = distributed.LocalCluster(
            n_workers=slots,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.ERROR,
            **gpus,
        )
        self.client = distributed.Client(self.cluster, set_as_default=False)

    def queued(self, home: Home) -> set[int]:
        """Lines of the jobs that the scheduler has."""
        if self.client is None:
            return set()
        found: set[int] = set()
        for key in self.client.run_on_scheduler(_unfinished, f"clbench-{home.id}-"):
            first, last = map(int, key.rpartition("-")[2].split("_"))
            found.update(range(first, last + 1))
        return found

    def submit(self, home: Home, jobs: Sequence[Job], needs: Needs) -> str:
        """Submit a task for each job, which the scheduler keeps when this process is gone."""
        distributed = import_module("distributed")
        resources = {"GPU": needs.gpus} if needs.gpu else None
        self.futures = [
            self.client.submit(
                run_command, [python(), *command(home, job.words, "attached", needs)],
                str(Path.cwd()), environment(needs), f"{home.logs}/dask-{job.first}.log",
                key=f"clbench-{home.id}-{job.first}_{job.last}", pure=False, resources=resources,
            )
            for job in jobs
        ]  # fmt: skip
        if self.address:
            distributed.fire_and_forget(self.futures)
        return f"dask {self.address}".strip()

    def left(self, home: Home) -> int:
        """How many jobs the scheduler has."""
        return len(self.client.run_on_scheduler(_unfinished, f"clbench-{home.id}-"))

    def close(self) -> None:
        """Disconnect; a local cluster ends, and its runs write their checkpoints."""
        for one in (self.client, self.cluster):
            if one is not None:
                one.close()


def _unfinished(prefix: str, dask_scheduler: Any) -> list[str]:
    """Keys of the tasks with a prefix that wait or run, as the scheduler knows them."""
    return [
        str(key)
        for key, task in dask_scheduler.tasks.items()
        if str(key).startswith(prefix)
        and task.state not in ("memory", "erred", "forgotten", "released")
    ]
