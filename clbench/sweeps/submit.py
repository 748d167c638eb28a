"""Runs a sweep on an engine: plan it here, hand out what is left, and follow it if asked to."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from clbench.engine.execute import Done, Options, sink_of
from clbench.errors import ClbenchError, UsageError
from clbench.results.record import Record
from clbench.sweeps.engine import Engine, Needs, jobs_of
from clbench.sweeps.home import Home, asked_by
from clbench.sweeps.lines import Line
from clbench.sweeps.local import check_options
from clbench.sweeps.once import Once
from clbench.sweeps.plan import line_of
from clbench.sweeps.planner import Planner
from clbench.sweeps.states import Look, State, tally
from clbench.sweeps.summary import summary
from clbench.trackers.progress import say

POLL_SECONDS = 2.0
TELL_SECONDS = 30.0
"""How often a line of progress is written."""
LATE_SECONDS = 30.0
"""How long records may appear after the last job has gone."""
AGAIN = 2
"""How often what is left is handed out again, while somebody waits."""


@dataclass
class Sweep:
    """A sweep that is planned: its lines, what they need, and where they stand."""

    home: Home
    lines: list[Line]
    needs: Needs
    look: Look
    before: dict[int, int] = field(default_factory=dict)
    """Time stamps of the records of failed runs that are run again, by index."""

    def states(self, indices: Sequence[int]) -> dict[int, State]:
        """How runs stand now."""
        self.look.begin()
        failed = self.home.failures()
        found = {}
        for index in indices:
            state = self.look.at(asked_by(self.lines[index]))
            if index in failed and state.name in ("waiting", "interrupted"):
                state = State("failed", failed[index])
            found[index] = state
        return found

    def folder(self, index: int) -> Path:
        """The run folder of a line."""
        return self.home.out / self.lines[index].folder


def planned(
    points: Sequence[Mapping[str, Any]],
    options: Options,
    needs: Needs,
    lines: Sequence[Line] = (),
    tracker_words: Sequence[str] = (),
) -> Sweep:
    """Check every run, prepare its data and latents once, and write the plan.

    Args:
        points: one ``{key: value}`` for each run.
        options: where to.
        needs: how jobs are cut; the threads and the GPU are found here.
        lines: of the plan that the points are of, if they are.
        tracker_words: words that choose trackers.

    Raises:
        UsageError: a run cannot be done as asked; nothing was written.
    """
    if options.overwrite:
        raise UsageError("--overwrite runs here only: remove the folders that are to be run again")
    check_options(options)
    planner, once = Planner(sink_of(options)), Once()
    found: dict[int, Line] = {}
    threads, gpu = 1, False
    for number, point in enumerate(points):
        run = planner.planned(_here(point), lines[number] if lines else None)
        if run.n_tasks is None:
            raise UsageError("the scenario is endless: a job needs max_tasks=N")
        planner.deliver(run)
        once.add(number, point, run)
        found[number] = line_of(point, run, tracker_words)
        threads = max(threads, run.config.common.threads)
        gpu = gpu or str(point.get("device", "")).startswith("cuda")
    note = once.note()
    if note is not None:
        say(note)
    kept = [found[number] for number in once.numbers]
    home = Home.of(options.out, kept)
    return Sweep(home, kept, dataclasses.replace(needs, threads=threads, gpu=gpu), Look(home.out))


def _here(point: Mapping[str, Any]) -> Mapping[str, Any]:
    """A point that can be planned here: a login node has no GPU, and the device is no identity.

    Raises:
        UsageError: latents would have to be encoded by a device that is not here.
    """
    device = str(point.get("device", "auto"))
    if not device.startswith("cuda") or torch.cuda.is_available():
        return point
    if "encoder" in point:
        raise UsageError(
            f"device={device} with an encoder: latents are encoded before the jobs start, and there "
            "is no GPU here; submit from a machine that has one"
        )
    return {**point, "device": "cpu"}


def hand_out(sweep: Sweep, engine: Engine, only: Sequence[int] | None = None) -> list[int]:
    """Submit the jobs of what is neither done nor running nor queued; returns all that is not done.

    Args:
        sweep: the sweep.
        engine: what runs the jobs.
        only: indices of lines; None: all of them.

    Raises:
        UsageError: the engine refuses; nothing was submitted.
    """
    n = len(sweep.lines)
    states = sweep.states(range(n) if only is None else only)
    open_ = [index for index, state in states.items() if state.name != "done"]
    queued = engine.queued(sweep.home) if open_ else set()
    busy = {index for index in open_ if states[index].name == "running"} | queued
    wanted = [index for index in open_ if index not in busy]
    jobs = jobs_of(wanted, n, sweep.needs.per_job)
    counts = f"{n} runs: {n - len(open_) if only is None else 'some'} done"
    if busy & {*open_}:
        counts += f", {len(busy & {*open_})} queued or running"
    if not jobs:
        say(f"{counts}; nothing to submit")
        return open_
    engine.check(sweep.home, -(-n // sweep.needs.per_job), sweep.needs)
    for index in wanted:
        if states[index].name == "failed":
            sweep.home.note_failure(index, None)
            sweep.before[index] = _stamp(sweep.folder(index))
    where = engine.submit(sweep.home, jobs, sweep.needs)
    say(f"{counts}, {len(wanted)} submitted in {len(jobs)} jobs: {where}")
    return open_


def follow(sweep: Sweep, engine: Engine, waiting: Sequence[int], quiet: bool) -> Iterator[Done]:
    """Wait for runs, and yield each as it ends.

    What is left once the engine has no more jobs is handed out again, ``AGAIN`` times.

    Args:
        sweep: the sweep.
        engine: that has its jobs.
        waiting: indices of lines.
        quiet: write no progress.
    """
    left, again, told = [*waiting], AGAIN, time.monotonic()
    gone_since: float | None = None
    while left:
        no_jobs = engine.left(sweep.home) == 0  # asked before the folders are looked at
        states = sweep.states(left)
        for index, state in states.items():
            if state.name == "done" or (state.name == "failed" and _is_new(sweep, index)):
                left.remove(index)
                yield _ended(sweep, index, state)
        if not left:
            return
        running = any(states[index].name == "running" for index in left)
        if not no_jobs or running:
            gone_since = None
        elif gone_since is None:
            gone_since = time.monotonic()
        elif time.monotonic() - gone_since > LATE_SECONDS:
            if not again:
                break
            again, gone_since = again - 1, None
            hand_out(sweep, engine, left)
        if not quiet and time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            found = tally(sweep.look, map(asked_by, sweep.lines), sweep.home.failures())
            say(summary(found))
        time.sleep(POLL_SECONDS)
    for index in left:
        state = sweep.states([index])[index]
        why = state.why or f"is {state.name}, and its jobs have gone; logs are in {sweep.home.logs}"
        error = f"{sweep.folder(index)}: {why}; the same words go on"
        yield Done(index, None, sweep.folder(index), error=error)


def already_done(sweep: Sweep, waiting: Sequence[int]) -> Iterator[Done]:
    """The runs of a sweep that are not waited for: their records."""
    for index in sorted({*range(len(sweep.lines))} - {*waiting}):
        yield _ended(sweep, index, State("done"), skipped=True)


def run_on(
    engine: Engine,
    points: Sequence[Mapping[str, Any]],
    options: Options,
    needs: Needs,
    lines: Sequence[Line] = (),
    tracker_words: Sequence[str] = (),
) -> Iterator[Done]:
    """Run a sweep on an engine and wait for it, as ``run_all`` does here.

    Yields:
        How each run ended; its number is that of its line in the plan.

    Raises:
        UsageError: a run cannot be done as asked, or the engine refuses; nothing was submitted.
    """
    engine.open()
    try:
        sweep = planned(points, options, needs, lines, tracker_words)
        waiting = hand_out(sweep, engine)
        yield from already_done(sweep, waiting)
        yield from follow(sweep, engine, waiting, options.quiet)
        until = time.monotonic() + LATE_SECONDS
        while engine.stays and waiting and engine.left(sweep.home) and time.monotonic() < until:
            time.sleep(0.2)  # the last record is there a moment before its job has ended
    finally:
        engine.close()


def _ended(sweep: Sweep, index: int, state: State, skipped: bool = False) -> Done:
    folder = sweep.folder(index)
    try:
        return Done(index, Record.load(folder / "record.json"), folder, skipped)
    except ClbenchError as error:
        return Done(
            index, None, folder, error=f"{folder}: {state.why}" if state.why else str(error)
        )


def _is_new(sweep: Sweep, index: int) -> bool:
    """Whether a failed run failed since it was submitted: by its note, or by a new record."""
    was = sweep.before.get(index)
    return was is None or index in sweep.home.failures() or _stamp(sweep.folder(index)) != was


def _stamp(folder: Path) -> int:
    try:
        return (folder / "record.json").stat().st_mtime_ns
    except OSError:
        return 0
