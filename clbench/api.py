"""The Python entry: the same path as the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.engine.build import Run
    from clbench.results.record import Record
    from clbench.results.records import Records
    from clbench.tracker import Progress


def run(
    *words: str,
    out: str | Path = "runs",
    config: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    quiet: bool = False,
    tracker: str | Sequence[str] | None = "tensorboard",
    report: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Record | Records:
    """Run one configuration, or a sweep, and return what came out.

    ``clbench.run(scenario="scole", strategy="ewc", seed=0)`` or, with the command line's own words,
    ``clbench.run("scenario=scole", "strategy=naive,ewc", "seed=0..4", "strategy.lr=0.1")``.

    Args:
        words: ``key=value`` as on the command line.
        out: the folder that run folders are made in.
        config: a YAML file of settings, which words and settings override.
        resume: go on with interrupted runs.
        overwrite: start again what is there.
        jobs: processes, for sweeps (spawned: a script then needs the usual ``__main__`` guard).
        quiet: no progress on stderr.
        tracker: what observes each run, such as ``"csv"``, ``["tensorboard", "wandb"]`` or a path;
            None: nothing. A ``tracker=`` word overrides it, and it overrides that of the file, but for
            the default. It never multiplies runs and changes no result.
        report: called with a ``clbench.tracker.Progress`` after every experience and every
            evaluation; needs ``jobs=1``. An error in it does not end the run.
        **settings: settings without a dot in their name; a list or range sweeps.

    Returns:
        The record, or ``Records``, a list of them, where the words ask for more than one run. A run
        that they ask for twice is run once, and a line on stderr says so. A run that was interrupted
        (Ctrl-C) or failed is a record, too: look at its ``status``.

    Raises:
        UsageError: the words are wrong; nothing was run.
        ClbenchError: a folder is in use or damaged.
    """
    from clbench.cli.run import outcome
    from clbench.configure.sweep import read_file, sweep
    from clbench.configure.trackers import as_word, asked
    from clbench.engine.execute import Options
    from clbench.errors import ClbenchError
    from clbench.results.records import Records
    from clbench.sweeps.local import run_all
    from clbench.trackers.progress import say
    from clbench.util.console import in_notebook

    given = [*words, *(f"{key}={_word(value)}" for key, value in settings.items())]
    if tracker != "tensorboard" and not any(word.startswith("tracker=") for word in given):
        given.append(f"tracker={as_word(tracker)}")
    found = asked(given, read_file(Path(config)) if config is not None else None)
    points = sweep(found.words, found.settings, say)
    options = Options(
        Path(out), resume, overwrite, jobs, quiet, trackers=found.trackers, report=report
    )
    ended = []
    for done in run_all(points, options):
        if done.record is None:
            raise ClbenchError(done.error)
        ended.append((done.number, done.record))
        if in_notebook() and not quiet:
            sys.stderr.write("".join(f"{line}\n" for line in outcome(done)))
    records = Records(record for _, record in sorted(ended, key=lambda pair: pair[0]))
    return records[0] if len(points) == 1 else records


def prepare(*words: str, config: str | Path | None = None, **settings: Any) -> Run:
    """One run's stream and strategy, with nothing trained or written.

    ``run = clbench.prepare("scenario=scole", "strategy=ewc")``, then ``run.stream.experience(0)``,
    ``run.strategy()``. The arguments are those of ``run``.

    Raises:
        UsageError: the words are wrong, or ask for more than one run.
    """
    from clbench.configure.config import resolve_point
    from clbench.configure.sweep import read_file, sweep
    from clbench.configure.trackers import asked
    from clbench.engine.build import prepare as prepare_one
    from clbench.engine.execute import Options, sink_of
    from clbench.errors import UsageError

    given = [*words, *(f"{key}={_word(value)}" for key, value in settings.items())]
    found = asked(given, read_file(Path(config)) if config is not None else None)
    points = sweep(found.words, found.settings)
    if len(points) > 1:
        raise UsageError(f"prepare: the words ask for {len(points)} runs; ask for one")
    return prepare_one(resolve_point(points[0]), sink=sink_of(Options(quiet=True)))


def _word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Iterable) and not isinstance(value, str):
        from clbench.configure.words import as_typed

        return ",".join(as_typed(v) if isinstance(v, str) else _word(v) for v in value)
    return str(value)
