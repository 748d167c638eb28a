"""``clbench run --on ENGINE``, and the jobs that an engine runs."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.engine.execute import Done, Options
    from clbench.sweeps.engine import Needs
    from clbench.sweeps.lines import Line

PATIENCE_SECONDS = 60.0
"""How long a job waits for another process that has a run's folder: what it leaves is gone on with."""


def add_engine(parser: argparse.ArgumentParser) -> Any:
    """Add the options that choose an engine; returns their group."""
    group = parser.add_argument_group("engines", "Run the sweep elsewhere (docs/clusters.md).")
    group.add_argument(
        "--on",
        metavar="ENGINE[:SETTINGS]",
        help="hand the runs to slurm, ray, dask or submitit, a command a job: "
        "slurm:partition=gpu,time=04:00:00 (options of sbatch), ray:ADDRESS, dask:ADDRESS "
        "(ray and dask alone start workers here)",
    )
    group.add_argument(
        "--per-job",
        type=int,
        metavar="N",
        help="number of runs in a job, one after another (default: 1)",
    )
    group.add_argument(
        "--per-gpu", type=int, metavar="N", help="number of runs that share a GPU (default: 1)"
    )
    return group


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of engines for ``clbench run``."""
    group = add_engine(parser)
    group.add_argument(
        "--wait", action="store_true", help="wait for the runs, and print their table"
    )
    group.add_argument(
        "--script",
        action="store_true",
        help="with --on slurm: write the batch files, submit nothing",
    )
    parser.add_argument("--job", choices=("attached", "alone"), help=argparse.SUPPRESS)


def check(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: saying which.
    """
    from clbench.errors import UsageError

    for name in ("per_job", "per_gpu"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    if arguments.on is None:
        for name in ("per_job", "per_gpu", "wait", "script"):
            if getattr(arguments, name, None):
                raise UsageError(f"--{name.replace('_', '-')} goes with --on ENGINE")
    elif getattr(arguments, "script", False) and arguments.on.partition(":")[0] != "slurm":
        raise UsageError("--script goes with --on slurm")


def needs_of(arguments: argparse.Namespace) -> Needs:
    """How jobs are cut."""
    from clbench.sweeps.engine import Needs

    return Needs(
        per_job=arguments.per_job or 1,
        per_gpu=arguments.per_gpu or 1,
        at_once=arguments.jobs,
    )


def submitted(
    arguments: argparse.Namespace,
    points: Sequence[dict[str, Any]],
    options: Options,
    lines: Sequence[Line],
    tracker_words: Sequence[str],
) -> Iterator[Done] | None:
    """Hand a sweep to an engine; returns how its runs end, or None where nobody waits for them.

    Raises:
        UsageError: a run cannot be done as asked, or the engine refuses; nothing was submitted.
    """
    from clbench.sweeps import submit
    from clbench.sweeps.engine import chosen

    engine, needs = chosen(arguments.on), needs_of(arguments)
    if arguments.script:
        _script(engine, submit.planned(points, options, needs, lines, tracker_words))
        return None
    if arguments.wait or engine.stays:
        return _told(submit.run_on(engine, points, options, needs, lines, tracker_words), engine)
    engine.open()
    try:
        sweep = submit.planned(points, options, needs, lines, tracker_words)
        waiting = submit.hand_out(sweep, engine)
    finally:
        engine.close()
    if not waiting:
        return submit.already_done(sweep, waiting)
    print(f"clbench: clbench status {sweep.home.plan} shows it", file=sys.stderr)
    return None


def runner_of(arguments: argparse.Namespace) -> Callable[..., Iterator[Done]]:
    """What runs points on the engine of ``--on``, waits, and gives the ends in their order."""

    def runner(points: Sequence[dict[str, Any]], options: Options) -> Iterator[Done]:
        from clbench.sweeps import submit
        from clbench.sweeps.engine import chosen

        ended = submit.run_on(chosen(arguments.on), points, options, needs_of(arguments))
        yield from sorted(ended, key=lambda done: done.number)

    return runner


def _told(ended: Iterator[Done], engine: Any) -> Iterator[Done]:
    try:
        yield from ended
    except KeyboardInterrupt:
        if not engine.stays:
            print("clbench: the jobs go on; the same words wait for them again", file=sys.stderr)
        raise


def _script(engine: Any, sweep: Any) -> None:
    from clbench.sweeps.engine import jobs_of

    n = len(sweep.lines)
    jobs = jobs_of(range(n), n, sweep.needs.per_job)
    array, table = engine.write(sweep.home, jobs, n, sweep.needs)
    print(f"sbatch {array}")
    print(f"sbatch --dependency=afterany:ARRAY_ID {table}")


def begin_job(plan: Path, kind: str) -> None:
    """What a job does first: notice the end of its parent, and wait for a plan that is shown late."""
    from clbench.sweeps.command import LATE_SECONDS, sees

    if kind == "attached":
        threading.Thread(target=_watch, args=(sys.stdin.fileno(),), daemon=True).start()
    sees(str(plan), LATE_SECONDS)


def _watch(number: int) -> None:
    """Stop as by a signal once the other end of a pipe is closed."""
    while os.read(number, 4096):
        pass
    while True:  # a signal that comes while nothing listens is lost
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_SECONDS)


def note_ends(ended: Iterator[Done], plan: Path, chosen: Sequence[int]) -> Iterator[Done]:
    """Pass on how the runs of a job end, and note why one could not start or finish.

    Args:
        ended: how they end; their numbers count the job's lines.
        plan: the plan's file.
        chosen: the lines of the job.
    """
    from clbench.errors import ClbenchError
    from clbench.sweeps.home import Home

    home = Home(plan.absolute().parent)
    try:
        for done in ended:
            if done.record is not None:
                home.note_failure(chosen[done.number], None)
            elif not done.is_busy:
                home.note_failure(chosen[done.number], done.error)
            yield done
    except ClbenchError as error:  # a run that cannot be done as asked: none was started
        for index in chosen:
            home.note_failure(index, str(error))
        raise
