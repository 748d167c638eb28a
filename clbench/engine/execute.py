"""Runs in their folders: skip what is done, resume what is not, write what comes out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clbench.configure.trackers import Chosen
from clbench.data.latent import ProgressSink
from clbench.engine import checkpoint, predictions
from clbench.engine.assemble import assemble
from clbench.engine.build import Run
from clbench.engine.builds import untrained
from clbench.engine.compiling import compile_network
from clbench.engine.harness import Outcome, run_stream, start_ledger
from clbench.engine.idle import foreseen, observed
from clbench.engine.lock import locked
from clbench.engine.observers import Calling, Observers, Report, run_start
from clbench.engine.revive import revived
from clbench.engine.settled import settled
from clbench.errors import ClbenchError, StorageError, UsageError
from clbench.results.record import Record, write_atomically
from clbench.tracker import Tracker
from clbench.trackers import OUTPUTS
from clbench.trackers import progress as tracking
from clbench.util import yaml_files
from clbench.util.atomic import make_folder, sweep_parts

FINISHED = {"completed", "diverged", "budget_exceeded"}


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what."""

    out: Path = Path("runs")
    resume: bool = False
    """Go on with interrupted runs."""
    overwrite: bool = False
    """Start unfinished and finished runs again."""
    jobs: int = 1
    """Processes."""
    quiet: bool = False
    """No progress on stderr."""
    trackers: tuple[Chosen, ...] = ()
    """What observes each run, beside the progress bar; it changes no result."""
    report: Report | None = None
    """A function that is called after every experience and every evaluation of each run."""
    stop: Callable[[], bool] | None = None
    """Asked after every experience whether to stop as a signal would."""
    patience: float = 0.0
    """Seconds to wait for another process that has a run's folder."""
    curve: bool = True
    """Draw ``curve.png``; a run that nobody looks at needs none."""


@dataclass(frozen=True)
class Done:
    """A run that has ended, and where it lies."""

    number: int
    """Which of the sweep's runs, from 0."""
    record: Record | None
    """None where the run could not start or go on; then ``error`` says why."""
    folder: Path
    skipped: bool = False
    """It had been done before."""
    error: str = ""
    is_busy: bool = False
    """Another process has the run's folder."""


def record_of(done: Done) -> Record:
    """The record of a run that had to give one.

    Raises:
        ClbenchError: it gave none.
    """
    if done.record is None:
        raise ClbenchError(done.error)
    return done.record


def sink_of(options: Options) -> ProgressSink:
    """Receives the progress of encoders; damage and notes on the data are said even if quiet."""
    noted: set[str] = set()

    def note(line: str) -> None:  # once, however often the data are loaded
        if line not in noted:
            noted.add(line)
            tracking.say(line)

    if options.quiet:
        return ProgressSink(warn=tracking.say, note=note)
    return ProgressSink(tracking.counted, tracking.say, tracking.say, note)


def check_folder(run: Run, options: Options) -> None:
    """Refuse a folder that cannot be written, or holds a run that was not said to go on.

    Raises:
        UsageError: with what to do.
    """
    folder, is_new = run.folder(options.out), False
    try:
        os.lstat(folder)  # a name that is too long is refused here
    except (FileNotFoundError, NotADirectoryError):
        is_new = True
    except OSError as error:
        shown = f"{str(options.out)[:200]}"
        raise UsageError(f"--out {shown}: cannot be written ({error.strerror})") from error
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir() or not _writable(nearest):
        raise UsageError(f"--out {options.out}: {nearest} cannot be written")
    if is_new:
        return
    record = folder / "record.json"
    if record.exists():
        try:
            Record.load(record)
        except ClbenchError as error:
            raise UsageError(str(error)) from error
    if options.resume or options.overwrite or _is_done(run, folder) or _extends(run, folder):
        return
    if (folder / "checkpoint").exists():
        raise UsageError(
            f"{folder}: holds an unfinished run; --resume goes on with it, --overwrite starts again"
        )


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _is_done(run: Run, folder: Path) -> bool:
    if not (folder / "record.json").exists():
        return False
    record = Record.load(folder / "record.json")
    if record.status != "completed":
        return record.status in FINISHED
    return run.n_tasks is not None and len(record.tasks["end"]) >= run.n_tasks


def state_of(run: Run, options: Options) -> str:
    """What ``execute`` would do: ``to run``, ``to resume``, ``to extend`` or ``already done``."""
    folder = run.folder(options.out)
    if options.overwrite or not folder.exists():
        return "to run"
    if _is_done(run, folder):
        return "already done"
    if _extends(run, folder):
        return "to extend"
    return "to resume" if (folder / "checkpoint").exists() else "to run"


def _extends(run: Run, folder: Path) -> bool:
    """Whether a completed run is asked to go on further (a larger ``max_tasks``)."""
    path = folder / "record.json"
    return path.exists() and Record.load(path).status == "completed" and not _is_done(run, folder)


def _identity(run: Run) -> str:
    """What a checkpoint is of: unlike the folder's name it has the seed."""
    return f"{run.hash8} seed {run.config.common.seed}"


def execute(run: Run, options: Options) -> tuple[Record, bool]:
    """One run in its folder; returns its record, and whether it had been done before.

    Raises:
        ClbenchError: the folder is in use, or its checkpoint is damaged; nothing was overwritten.
    """
    folder = run.folder(options.out)
    strategy = run.strategy()
    make_folder(folder)
    with locked(folder, tracking.say, options.patience):
        sweep_parts(folder)
        if _is_done(run, folder) and not options.overwrite:
            record = Record.load(folder / "record.json")
            if record.sources["engine"] != run.sources["engine"]:
                tracking.say(
                    f"{folder}: reused; it was made by other source of the engine with the same "
                    "results version (--overwrite runs it again)"
                )
            if run.config.common.save_predictions and not (folder / predictions.NAME).is_file():
                predictions.write(run, revived(run, folder), folder)
            return record, True
        return _run(run, strategy, folder, options), False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _run(run: Run, strategy: Any, folder: Path, options: Options) -> Record:
    ledger = start_ledger(run)
    saved = folder / "checkpoint"
    if saved.exists() and not options.overwrite:
        ledger, state = checkpoint.load(saved, _identity(run), run.device)
        strategy.load_state_dict(state)
    else:
        for stale in (saved, folder / "record.json", folder / predictions.NAME):
            stale.unlink(missing_ok=True)
        for name in OUTPUTS:
            _remove(folder / name)
    if run.config.common.compile:
        ledger.warn(compile_network(strategy, run.config.common.threads))
    ledger.warn(foreseen(run, strategy))
    ledger.started = ledger.started or datetime.now(UTC).isoformat()
    found = settled(run, strategy)
    settings = {**run.config.as_file(), **({"resolved": found} if found else {})}
    write_atomically(folder / "config.yaml", yaml_files.dump(settings).encode())
    for group in ("strategy", "model"):  # what ran, for whoever submits it
        source = run.config.plugins[group].path.read_bytes()
        write_atomically(folder / f"{group}.py", source)
    observers = Observers(trackers_of(options), tracking.say, ledger.warn)
    record = None
    try:
        observers.start(run_start(run, ledger, folder))
        outcome = run_stream(
            run,
            strategy,
            ledger,
            report=observers.progress if observers.trackers else None,
            save=lambda books, state: checkpoint.save(saved, _identity(run), books, state),
            stop=options.stop,
        )
        if isinstance(outcome.error, StorageError):
            raise StorageError(f"{outcome.error}; the run is interrupted: make room and --resume")
        outcome = in_its_division(run, strategy, outcome)
        if not ledger.warnings and outcome.status == "completed":
            ledger.warn(observed(ledger))
        record = _save(run, strategy, outcome, folder, options, found)
    finally:
        warned = len(ledger.warnings)
        observers.finish(record)
    if len(ledger.warnings) > warned:  # a tracker could not finish
        record = replace(record, warnings=list(ledger.warnings))
        record.save(folder / "record.json")
    return record


def in_its_division(run: Run, strategy: Any, outcome: Outcome) -> Outcome:
    """The outcome, which is an error where the network of the run's division was never trained."""
    protocol = run.config.protocol
    if protocol is None or outcome.status != "completed":
        return outcome
    trained, name = strategy.network_builds.is_trained, run.config.plugins["strategy"].name
    error = untrained(protocol.division, trained, name)
    return outcome if error is None else replace(outcome, status="error", error=error)


def trackers_of(options: Options) -> dict[str, Tracker]:
    """New trackers for one run, by the names that errors call them."""
    found: dict[str, Tracker] = {chosen.plugin.name: chosen.build() for chosen in options.trackers}
    if not options.quiet:
        found.setdefault("progress", tracking.Bar(tracking.Bar.Config()))
    if options.report is not None:
        found["report"] = Calling(options.report)
    return found


def _save(
    run: Run,
    strategy: Any,
    outcome: Outcome,
    folder: Path,
    options: Options,
    resolved: dict[str, dict[str, Any]],
) -> Record:
    started = datetime.fromisoformat(outcome.ledger.started)
    record = assemble(run, strategy, outcome, started, resolved)
    if options.curve:
        from clbench.results.plots import save_curve

        save_curve([record], folder / "curve.png")
    record.save(folder / "record.json")
    if run.config.common.save_predictions and record.status == "completed":
        predictions.write(run, strategy, folder)
    return record
