"""Runs a strategy in other processes under the ordinary harness; labels stay in the parent.

The processes receive the plug-ins' source texts and settings and, call by call, the arguments that
every strategy receives. Their seeds are those of the parent, so that the predictions equal those of an
ordinary run bit for bit.

A *learner* receives training experiences only. At each evaluation, after ``prepare``, a new *predictor*
is built from the state that the parent received of the learner, and receives test samples only. So a
strategy learns nothing from test samples, and what it remembers is in its state, whose bytes are those
received. At the experiences ``cuts`` the learner too is built anew from its state. A strategy that says
that it is not ``resumable`` stays in one process for all.

``clbench.leaderboard.reproduce.hygiene`` lists the restrictions by system. To keep untrusted code
out of the parent entirely, do not resolve a configuration that names it, because that imports it:
prepare the run with a strategy of clbench and pass a ``Job`` to ``isolated``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clbench.engine.build import Run
from clbench.errors import UsageError
from clbench.leaderboard.reproduce.child import Child, one_line
from clbench.leaderboard.reproduce.hygiene import NOTICE as NOTICE
from clbench.leaderboard.reproduce.hygiene import Limits
from clbench.leaderboard.reproduce.hygiene import hygiene as hygiene
from clbench.leaderboard.reproduce.job import Job as Job
from clbench.leaderboard.reproduce.job import job_of as job_of
from clbench.leaderboard.reproduce.job import source_of as source_of
from clbench.leaderboard.reproduce.processes import WORKER, Popened, Zygote, can_fork
from clbench.leaderboard.reproduce.remote import RemoteStrategy as RemoteStrategy
from clbench.leaderboard.reproduce.remote import Start

DEFAULT_LIMITS = Limits()


@contextmanager
def isolated(
    run: Run,
    limits: Limits = DEFAULT_LIMITS,
    job: Job | None = None,
    *,
    rebuild: bool = True,
    cuts: Collection[int] = (),
    count: bool = False,
    zygote: Zygote | None = None,
) -> Iterator[RemoteStrategy]:
    """Open a run's strategy in other processes, which end with the context.

    Args:
        run: the run; the processes learn nothing about its stream.
        limits: what each process may use.
        job: the strategy and model to build there instead of the run's own.
        rebuild: whether predictors are built from the learner's state.
        cuts: experiences, from 1, after which the learner is built anew.
        count: whether every call's operations and updates are counted, and its CPU time measured.
        zygote: what the processes are forked from, where it is there already.

    Raises:
        UsageError: the strategy cannot be built; the message is that of ``Run.strategy``.
        ClbenchError: the process does not start.
    """
    job = job_of(run) if job is None else job
    for source in (job.strategy, job.model):
        if not re.fullmatch(r"\w[\w.-]{0,63}", source.name, re.ASCII):
            raise UsageError(f"{one_line(source.name, 64)!r} cannot be the name of a plug-in")
    with ExitStack() as stack:
        start = _starter(stack, job, limits, zygote)
        remote = RemoteStrategy(job, start, rebuild=rebuild, cuts=cuts, count=count)
        stack.callback(remote.stop)
        yield remote


def _starter(stack: ExitStack, job: Job, limits: Limits, zygote: Zygote | None) -> Start:
    """What starts processes on this system."""
    name, threads = job.strategy.name, job.threads
    if can_fork():
        source = stack.enter_context(Zygote(threads, job.device)) if zygote is None else zygote

        def fork() -> tuple[Child, Path]:
            process, folder = source.start()
            return Child(name, process, limits, folder), folder

        return fork

    def begin() -> tuple[Child, Path]:
        made = tempfile.TemporaryDirectory(prefix="clbench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(made))
        return Child(name, Popened(WORKER, folder, threads), limits, folder), folder

    return begin
