"""Submitit: its executors, for clusters that a site reaches by it. A job is a command.

``--on slurm`` has more: jobs that go back into the queue, one file that a person can read, and no
package to install.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from clbench.errors import UsageError
from clbench.sweeps.command import run_command
from clbench.sweeps.engine import Job, Needs, command, environment, python, settings_of
from clbench.sweeps.home import Home
from clbench.util.optional import require


class Submitit:
    """Hands commands to an executor of submitit: ``cluster=slurm`` (the default) or ``debug``."""

    def __init__(self, text: str) -> None:
        """Read settings: ``cluster``, and parameters of the executor under submitit's own names.

        Raises:
            UsageError: the cluster is ``local``, which has no queue.
        """
        self.given = settings_of(text, "submitit")
        self.text = text
        self.cluster = self.given.pop("cluster", None) or "slurm"
        if self.cluster == "local":
            raise UsageError(
                "--on submitit:cluster=local starts all jobs at once; use --jobs N without --on"
            )
        self.stays = self.cluster == "debug"
        self.jobs: list[Any] = []

    def open(self) -> None:
        """Refuse a package or a cluster that is not there.

        Raises:
            UsageError: saying which.
        """
        require("submitit", "--on submitit", "slurm")
        self._executor("submitit-probe")

    def _executor(self, folder: str) -> Any:
        submitit = import_module("submitit")
        try:
            return submitit.AutoExecutor(folder=folder, cluster=self.cluster)
        except (ValueError, RuntimeError) as error:
            raise UsageError(f"--on submitit:{self.text}: {error}") from error

    def check(self, home: Home, n_jobs: int, needs: Needs) -> None:
        """Refuse parameters that the executor does not know."""
        self._prepared(home, needs)

    def _prepared(self, home: Home, needs: Needs) -> Any:
        executor = self._executor(str(home.logs))
        given: dict[str, Any] = {"name": f"clbench-{home.id}", "cpus_per_task": needs.cpus}
        if needs.gpu:
            given["gpus_per_node"] = 1
        if self.cluster == "slurm" and needs.at_once is not None:
            given["slurm_array_parallelism"] = needs.at_once
        for key, value in self.given.items():
            given[key] = int(value) if value is not None and value.isdigit() else value
        try:
            executor.update_parameters(**given)
        except (TypeError, ValueError, NameError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise UsageError(f"--on submitit:{self.text}: {reason[:200]}") from error
        return executor

    def queued(self, home: Home) -> set[int]:
        """Nothing is known of earlier submissions; a job that comes second finds the run done."""
        return set()

    def submit(self, home: Home, jobs: Sequence[Job], needs: Needs) -> str:
        """Submit the jobs as one array."""
        executor = self._prepared(home, needs)
        env, here = environment(needs), str(Path.cwd())
        try:
            with executor.batch():
                self.jobs = [
                    executor.submit(
                        run_command, [python(), *command(home, job.words, "attached", needs)],
                        here, env, os.path.join(home.logs, f"submitit-{job.first}.log"),
                    )
                    for job in jobs
                ]  # fmt: skip
        except Exception as error:  # what sbatch says comes in an error of submitit's own
            reason = " ".join(str(error).split())
            raise UsageError(f"--on submitit: is refused: {reason[-300:]}") from error
        home.note_submission("submitit", id=[str(job.job_id) for job in self.jobs][:1])
        return f"submitit {self.cluster} {self.jobs[0].job_id if self.jobs else ''}".strip()

    def left(self, home: Home) -> int:
        """How many jobs of this process have not ended; those of ``debug`` are run here and now."""
        return sum(not job.done() for job in self.jobs)

    def close(self) -> None:
        """Do nothing: jobs go on."""
