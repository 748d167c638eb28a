"""The contract of trackers: they follow a run to its end and change nothing of it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from clbench.checks.finding import Check, Failed, NotApplicable
from clbench.checks.rig import Rig
from clbench.checks.trials import make_run, trials
from clbench.configure.trackers import Chosen
from clbench.engine.assemble import assemble
from clbench.engine.harness import run_stream, start_ledger
from clbench.engine.observers import Observers, run_start
from clbench.errors import MissingPackage
from clbench.plugins.registry import Plugin, stand_in
from clbench.tracker import Tracker

SESSIONS = (2, 4)
"""A run of two tasks, which is then resumed until it has had four."""


def follows_a_run_to_its_end(rig: Rig) -> None:
    """``start``, ``progress`` and ``finish`` raise nothing, in a new run and in a resumed one."""
    _predictions(rig.plugin)


def follows_one_run_after_another(rig: Rig) -> None:
    """Two of them in one process do not disturb each other."""
    for _ in range(2):
        _predictions(rig.plugin)


def changes_no_bit_of_a_result(rig: Rig) -> None:
    """A run with it predicts what a run without it predicts."""
    if _predictions(rig.plugin) != _predictions(None):
        raise Failed("a run with it predicts otherwise; change nothing but the tracker's own files")


CHECKS: tuple[Check, ...] = (
    follows_a_run_to_its_end,
    follows_one_run_after_another,
    changes_no_bit_of_a_result,
)


def _predictions(plugin: Plugin | None) -> str:
    """The hash of all predictions of a run in two sessions, with a tracker or without one."""
    [trial] = [trial for trial in trials() if trial.name == "recurring"]
    run = make_run(stand_in("strategy"), trial.stream)
    strategy, ledger = run.strategy(), start_ledger(run)
    with tempfile.TemporaryDirectory() as folder:
        for n_tasks in SESSIONS:
            session = replace(run, stream=replace(run.stream, n_tasks=n_tasks))
            said: list[str] = []
            observers = Observers(_built(plugin), said.append, said.append)
            observers.start(run_start(session, ledger, Path(folder)))
            outcome = run_stream(session, strategy, ledger, report=observers.progress)
            if outcome.error is not None:
                raise outcome.error
            observers.finish(assemble(session, strategy, outcome, datetime.now(UTC)))
            if said:
                raise Failed(f"{said[0]}; a tracker that raises is of no use to the run")
    return ledger.predictions_sha256


def _built(plugin: Plugin | None) -> dict[str, Tracker]:
    if plugin is None:
        return {}
    try:
        return {plugin.name: Chosen(plugin, plugin.given).build()}
    except MissingPackage as error:
        raise NotApplicable(str(error)) from error
