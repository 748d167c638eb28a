"""Engines run the jobs of a sweep elsewhere: ``--on slurm``, ``ray``, ``dask`` or ``submitit``.

An engine is handed commands (``clbench run --plan plan.jsonl --index 0..9 ...``) and never objects.
The run folders are the queue and tell what is done; an engine may lose anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from clbench.configure.words import split_top, unquote
from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean
from clbench.sweeps.home import Home

ENGINES = {"slurm": "Slurm", "ray": "Ray", "dask": "Dask", "submitit": "Submitit"}
"""By name, the class in the module of that name."""
PASSED = ("PYTHONPATH", "VIRTUAL_ENV")
"""Variables that a job gets as they are here, with all whose name starts with ``CLBENCH_``."""


class Job(NamedTuple):
    """Lines of the plan that one process runs, one after another; both ends are inside."""

    first: int
    last: int

    @property
    def words(self) -> str:
        """As ``--index`` takes it."""
        return f"{self.first}..{self.last}"


@dataclass(frozen=True)
class Needs:
    """What a job needs of a machine, and how jobs are cut."""

    threads: int = 1
    """CPU threads of one run: the most that any run of the sweep asks for."""
    gpu: bool = False
    """Whether a run asks for ``device=cuda``."""
    per_job: int = 1
    """Runs a job."""
    per_gpu: int = 1
    """Runs that share a GPU."""
    at_once: int | None = None
    """Jobs at a time; None: as many as the engine likes."""

    @property
    def runs_at_once(self) -> int:
        """Runs of one job at a time: more than one where they share a GPU."""
        return min(self.per_gpu, self.per_job) if self.gpu else 1

    @property
    def cpus(self) -> int:
        """Of a job."""
        return max(1, self.threads) * self.runs_at_once

    @property
    def gpus(self) -> float:
        """Of a job; a fraction is a share of one."""
        return self.runs_at_once / self.per_gpu if self.gpu else 0


class Engine(Protocol):
    """What runs jobs."""

    stays: bool
    """Whether the jobs end with this process: it must wait for them."""

    def open(self) -> None:
        """Refuse, before anything is planned, what cannot work.

        Raises:
            UsageError: it is not installed, not there, or a setting is wrong.
        """

    def check(self, home: Home, n_jobs: int, needs: Needs) -> None:
        """Refuse, before anything is submitted, what cannot work with this sweep.

        Raises:
            UsageError: a worker does not see the folder, or nothing has what a job needs.
        """

    def queued(self, home: Home) -> set[int]:
        """Lines of the plan that wait or run, by an earlier submission."""

    def submit(self, home: Home, jobs: Sequence[Job], needs: Needs) -> str:
        """Submit jobs; returns where they are, in a few words.

        Raises:
            UsageError: the scheduler refuses; nothing was submitted.
        """

    def left(self, home: Home) -> int:
        """How many jobs wait or run."""

    def close(self) -> None:
        """Let go; jobs that do not end with this process go on."""


def chosen(text: str) -> Engine:
    """The engine of ``--on NAME[:settings]``.

    Raises:
        UsageError: there is no such engine, or a setting is wrong.
    """
    name, _, rest = text.partition(":")
    if name not in ENGINES:
        hint = did_you_mean(name, ENGINES)
        raise UsageError(f"--on {text}: no engine {name!r}{hint} (there are {', '.join(ENGINES)})")
    cls: Any = getattr(import_module(f"clbench.sweeps.{name}"), ENGINES[name])
    engine: Engine = cls(rest)
    return engine


def settings_of(text: str, on: str) -> dict[str, str | None]:
    """``key=value,flag`` as a dict; a flag has None. A setting with a comma stands in quotes.

    Raises:
        UsageError: a key is missing or given twice.
    """
    found: dict[str, str | None] = {}
    for part in split_top(text) if text else ():
        key, equals, value = part.partition("=")
        key = key.strip().lstrip("-")
        if not key or key in found:
            what = "is given twice" if key else "is no setting"
            raise UsageError(f"--on {on}:{text}: {key or part!r} {what}; write key=value,key=value")
        found[key] = unquote(value) if equals else None
    return found


def jobs_of(wanted: Sequence[int], n: int, per_job: int) -> list[Job]:
    """The jobs that have one of the wanted lines: job ``K`` is of the lines from ``K * per_job``."""
    numbers = sorted({index // per_job for index in wanted})
    return [Job(k * per_job, min(n, (k + 1) * per_job) - 1) for k in numbers]


def command(home: Home, index: str, kind: str, needs: Needs) -> list[str]:
    """The words of a job.

    Args:
        home: of the sweep.
        index: the lines, as ``--index`` takes them.
        kind: ``attached`` (it leaves when its standard input is closed) or ``alone``.
        needs: of the sweep.
    """
    if home.is_verification:
        words = ["-m", "clbench", "verify", "--plan", str(home.plan), "--index", index]
        return [*words, "--job", kind]
    words = ["-m", "clbench", "run", "--plan", str(home.plan), "--index", index]
    words += ["--out", str(home.out), "--resume", "-q", "--job", kind]
    if needs.runs_at_once > 1:
        words += ["--jobs", str(needs.runs_at_once)]
    return words


def python() -> str:
    """The interpreter of this process."""
    return sys.executable


def environment(needs: Needs) -> dict[str, str]:
    """The variables of a job."""
    kept = {k: v for k, v in os.environ.items() if k in PASSED or k.startswith("CLBENCH_")}
    if "PYTHONPATH" in kept:
        kept["PYTHONPATH"] = os.pathsep.join(
            str(Path(part).absolute()) for part in kept["PYTHONPATH"].split(os.pathsep) if part
        )
    return {**kept, "OMP_NUM_THREADS": str(max(1, needs.threads))}
