"""Runs a sweep on this machine: one run after another, or a few processes at a time."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from clbench.data.latent import SILENT
from clbench.engine.build import Run
from clbench.engine.execute import Done, Options, check_folder, execute, sink_of, trackers_of
from clbench.engine.lock import InUse
from clbench.engine.settled import network_line
from clbench.errors import ClbenchError, UsageError
from clbench.sweeps.once import Once
from clbench.sweeps.plan import Line
from clbench.sweeps.planner import Planner
from clbench.sweeps.workers import Died, Dropped, in_processes
from clbench.trackers.progress import say


def run_all(
    points: list[dict[str, Any]], options: Options, lines: Sequence[Line] = ()
) -> Iterator[Done]:
    """Run a sweep: first check every run, then run them; one that fails stops no other.

    A run that several points ask for, in the same words or in others, is run once; a line says so.

    Args:
        points: one ``{key: value}`` for each run, as ``clbench.configure.sweep.sweep`` gives them.
        options: how to run them.
        lines: the lines of the plan that the points are of, if they are.

    Yields:
        How each run ended, as soon as it has; with several processes in any order. After a run
        that was interrupted nothing more is started.

    Raises:
        UsageError: any of the runs cannot be done as asked; none was started.
    """
    planner = Planner(sink_of(options))
    check_options(options)
    runs: dict[int, Run] = {}
    networks: dict[str, None] = {}
    once = Once()
    for number, point in enumerate(points):
        run = checked(planner, point, lines[number] if lines else None, options)
        once.add(number, point, run)
        networks |= dict.fromkeys(filter(None, [network_line(run.config)]))
        if any(other.stream.pool is not run.stream.pool for other in [*runs.values()][:1]):
            runs.clear()  # only the runs of one pool are kept: they hold it in memory
        runs[number] = run
    note = once.note()
    if note is not None:
        say(note)
    for line in () if options.quiet else networks:
        say(line)
    if options.jobs > 1 and len(once.numbers) > 1:
        if options.report is not None:
            raise UsageError("report= is called in this process: it needs jobs=1")
        yield from _in_processes({number: points[number] for number in once.numbers}, options)
        return
    for number in once.numbers:
        run = runs.pop(number) if number in runs else planner.run(points[number])
        done = _attempt(number, run, options)
        yield done
        record = done.record
        if record is not None and record.status == "interrupted" and record.error is None:
            return  # by a signal; a time limit is of one run


def check_options(options: Options) -> None:
    """Refuse, before anything is run, a tracker that cannot work or a folder that cannot be written.

    Raises:
        UsageError: saying which.
    """
    trackers_of(options)
    out = options.out.absolute()
    try:
        nearest = next(p for p in (out, *out.parents) if p.exists())
        if not nearest.is_dir():
            return  # the first run that is checked names the file in the way
        probe = nearest / f".clbench-{os.getpid()}-{threading.get_ident()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        shown = str(options.out)[:200]
        raise UsageError(f"--out {shown}: cannot be written ({error.strerror})") from error


def checked(planner: Planner, point: dict[str, Any], line: Line | None, options: Options) -> Run:
    """A run that can be done as asked, as far as can be said before it; a dry run says the same.

    Raises:
        UsageError: it cannot.
    """
    run = planner.planned(point, line)
    _check_end(run)
    check_folder(run, options)
    return run


def _in_processes(points: dict[int, dict[str, Any]], options: Options) -> Iterator[Done]:
    """Spawned workers, one run at a time each.

    A run uses the threads that its settings say; where they say 0, its worker's share of the cores.

    Raises:
        KeyboardInterrupt: a signal came between two runs, so that no record says it.
    """
    n_workers = min(options.jobs, len(points))
    share = max(1, (os.cpu_count() or 1) // n_workers)
    jobs = [(number, point, options) for number, point in points.items()]
    is_stopped = is_said = False
    for found in in_processes(jobs, _work, n_workers, share):
        if isinstance(found, Dropped):
            is_stopped = True
            continue
        if not isinstance(found, Died):
            is_said |= found.record is not None and found.record.status == "interrupted"
            yield found
            continue
        number, point, _ = jobs[found.number]
        folder = Planner(sink_of(options), tell=None).run(point).folder(options.out)
        wrong = f"{folder}: its process {found.reason}; --resume goes on with the run"
        yield Done(number, None, folder, error=wrong)
    if is_stopped and not is_said:
        raise KeyboardInterrupt


def _work(place: int, job: tuple[int, dict[str, Any], Options], stop: Callable[[], bool]) -> Done:
    number, point, options = job
    sink = dataclasses.replace(sink_of(options), note=SILENT.note)  # the parent has said it
    run = Planner(sink, tell=None).run(point)
    return _attempt(number, run, dataclasses.replace(options, stop=stop))


def _attempt(number: int, run: Run, options: Options) -> Done:
    try:
        record, skipped = execute(run, options)
    except ClbenchError as error:
        folder, is_busy = run.folder(options.out), isinstance(error, InUse)
        return Done(number, None, folder, error=str(error), is_busy=is_busy)
    return Done(number, record, run.folder(options.out), skipped)


def _check_end(run: Run) -> None:
    if run.n_tasks is None and not sys.stderr.isatty() and not sys.stdin.isatty():
        raise UsageError("the scenario is endless and nobody can press Ctrl-C: set max_tasks=N")
