"""Runs a sweep on this machine: one run after another, or a few processes at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import torch

from clbench.data.latent import SILENT
from clbench.engine.build import Run
from clbench.engine.execute import Done, Options, check_folder, execute, sink_of, trackers_of
from clbench.errors import ClbenchError, UsageError
from clbench.sweeps.plan import Line
from clbench.sweeps.planner import Planner


def run_all(
    points: list[dict[str, Any]], options: Options, lines: Sequence[Line] = ()
) -> Iterator[Done]:
    """Run a sweep: first check every run, then run them; one that fails stops no other.

    Args:
        points: one ``{key: value}`` for each run, as ``clbench.configure.sweep.sweep`` gives them.
        options: how to run them.
        lines: the lines of the plan that the points are of, if they are.

    Yields:
        How each run ended, as soon as it has; with several processes in any order.

    Raises:
        UsageError: any of the runs cannot be done as asked; none was started.
    """
    planner = Planner(sink_of(options))
    trackers_of(options)  # one that cannot work says so before anything is run
    runs: dict[int, Run] = {}
    for number, point in enumerate(points):
        run = planner.planned(point, lines[number] if lines else None)
        _check_end(run)
        check_folder(run, options)
        if any(other.stream.pool is not run.stream.pool for other in [*runs.values()][:1]):
            runs.clear()  # only the runs of one pool are kept: they hold it in memory
        runs[number] = run
    if options.jobs > 1 and len(points) > 1:
        if options.report is not None:
            raise UsageError("report= is called in this process: it needs jobs=1")
        yield from _in_processes(points, options)
        return
    for number, point in enumerate(points):
        run = runs.pop(number) if number in runs else planner.run(point)
        yield _attempt(number, run, options)


def _in_processes(points: list[dict[str, Any]], options: Options) -> Iterator[Done]:
    """Spawned workers, one run at a time each.

    A run uses the threads that its settings say; where they say 0, its worker's share of the cores.
    """
    workers = min(options.jobs, len(points))
    share = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(share,)
    ) as pool:
        waiting = [pool.submit(_work, n, point, options) for n, point in enumerate(points)]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:  # Ctrl-C, an error, or a caller that has seen enough: start no more
            pool.shutdown(wait=False, cancel_futures=True)


def _work(number: int, point: dict[str, Any], options: Options) -> Done:
    sink = replace(sink_of(options), note=SILENT.note)  # the parent has said it
    return _attempt(number, Planner(sink).run(point), options)


def _attempt(number: int, run: Run, options: Options) -> Done:
    try:
        record, skipped = execute(run, options)
    except ClbenchError as error:
        return Done(number, None, run.folder(options.out), error=str(error))
    return Done(number, record, run.folder(options.out), skipped)


def _check_end(run: Run) -> None:
    if run.n_tasks is None and not sys.stderr.isatty() and not sys.stdin.isatty():
        raise UsageError("the scenario is endless and nobody can press Ctrl-C: set max_tasks=N")
