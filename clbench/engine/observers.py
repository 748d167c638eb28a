"""Between the harness and the trackers: values that cannot be changed go out, no error comes back."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from clbench import seeding
from clbench.engine.build import Run
from clbench.engine.ledger import Ledger
from clbench.plugins.registry import line_of
from clbench.results.record import Record
from clbench.tracker import Evaluation, Progress, RunStart, Tracker

Report = Callable[[Progress], None]


class Observers:
    """The trackers of one run; one that raises is switched off, and the run goes on."""

    def __init__(
        self,
        trackers: Mapping[str, Tracker],
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        """Keep the trackers.

        Args:
            trackers: by name.
            say: prints a line for the user.
            warn: enters a warning into the ledger. The line has no path in it.
        """
        self.trackers, self.say, self.warn = dict(trackers), say, warn

    def start(self, run: RunStart) -> None:
        """Begin; outside of the harness, so the state of all generators is put back."""
        with seeding.preserved(threads=0), _torch_as_it_was():
            self._tell(lambda tracker: tracker.start(run))

    def progress(self, progress: Progress) -> None:
        """Report. The harness seeds all generators before whatever is drawn next."""
        if self.trackers:
            with _torch_as_it_was():
                self._tell(lambda tracker: tracker.progress(progress))

    def finish(self, record: Record | None) -> None:
        """End; each tracker gets a record of its own."""
        with seeding.preserved(threads=0), _torch_as_it_was():
            self._tell(lambda tracker: tracker.finish(copy.deepcopy(record)))

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                call(tracker)
            except (Exception, SystemExit) as error:  # a third party's code may raise anything
                del self.trackers[name]
                kind, first = type(error).__name__, (str(error).splitlines() or [""])[0]
                at = _line_in(tracker, error)
                self.say(f"tracker {name} is switched off, the run goes on: {kind}: {first}{at}")
                self.warn(f"tracker {name} raised {kind} and was switched off")


def _line_in(tracker: Tracker, error: BaseException) -> str:
    """`` (mine.py line 7)``: where in the tracker's file an error arose; empty where in none."""
    module = sys.modules.get(type(tracker).__module__)
    file = getattr(module, "__file__", None)
    line = line_of(error, Path(file)) if file else None
    return f" ({Path(file).name} line {line})" if file and line else ""


class Calling(Tracker):
    """Calls a function with every report."""

    def __init__(self, function: Report) -> None:
        super().__init__(self.Config())
        self.function = function

    def progress(self, progress: Progress) -> None:
        """Call it."""
        self.function(progress)


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Put back what changes how torch computes; this costs less than a microsecond."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    grad, mode = torch.is_grad_enabled(), torch.get_deterministic_debug_mode()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.get_default_dtype() != dtype:
            torch.set_default_dtype(dtype)
        if torch.is_grad_enabled() != grad:
            torch.set_grad_enabled(grad)
        if torch.get_deterministic_debug_mode() != mode:
            torch.set_deterministic_debug_mode(mode)


def run_start(run: Run, ledger: Ledger, folder: Path) -> RunStart:
    """What trackers are told of a run that is about to begin or to be resumed."""
    stream = run.stream
    per_class = np.bincount(stream.pool.labels("test"), minlength=stream.pool.n_classes)
    sizes = (per_class[stream.pool_label(cell.label, cell.domain)] for cell in stream.cells)
    return RunStart(
        folder=folder,
        title=f"{folder.parent.name} {folder.name}",
        settings=_frozen(run.config.as_dict()),
        seed=run.config.common.seed,
        cells=stream.cells,
        sizes=tuple(map(int, sizes)),
        n_experiences=n_experiences(run),
        experiences=ledger.experiences,
        past=tuple(evaluation(ledger, at) for at in range(len(ledger.evaluated_after))),
    )


def n_experiences(run: Run) -> int | None:
    """Experiences of the whole run; None where it has no end."""
    return None if run.n_tasks is None else run.stream.n_experiences(run.n_tasks)


def evaluation(ledger: Ledger, at: int) -> Evaluation:
    """A copy of one evaluation in the ledger."""
    values = {name: series[at] for name, series in ledger.diagnostics.items()}
    return Evaluation(
        experiences=ledger.evaluated_after[at],
        world_accuracy=ledger.world_accuracy[at],
        correct=tuple(ledger.correct[at]),
        diagnostics=MappingProxyType({k: v for k, v in values.items() if v is not None}),
    )


def _frozen(value: Any) -> Any:
    """Plain data that cannot be changed: mappings are read-only, lists are tuples."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(v) for key, v in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_frozen(v) for v in value)
    return value
