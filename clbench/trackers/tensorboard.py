"""Writes curves for TensorBoard: world accuracy, accuracy by cell or class, diagnostics.

``tensorboard --logdir runs`` shows them. ``accuracy/`` has a curve for each cell (a class in a
domain) where there are at most 32, else for each class, at most 32. A resumed run continues its
curves.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clbench.tracker import Evaluation, Progress, RunStart, Tracker
from clbench.trackers._events import Event, EventFile

if TYPE_CHECKING:
    from clbench.results.record import Record


BLOCK = 256
"""Evaluations that are written at once."""
SECONDS = 2.0
"""The longest that an evaluation waits while others come."""


class TensorBoard(Tracker):
    """Writes one event for each evaluation, with all of its values."""

    def start(self, run: RunStart) -> None:
        """Open the writer; hide what was written after the checkpoint and will come again."""
        self.run = run
        folder = run.folder / "tensorboard"
        unknown = run.past if not any(folder.glob("events*")) else ()
        lost = run.experiences + 1 if run.experiences else None
        self.file = EventFile(folder, lost)
        self.waiting: list[Event] = []
        self.written = time.monotonic()
        for evaluation in unknown:  # made before this tracker was chosen
            self._write(evaluation)

    def progress(self, progress: Progress) -> None:
        """Write a new evaluation."""
        if progress.is_new:
            self._write(progress.evaluation)
        if self.waiting and time.monotonic() - self.written > SECONDS:
            self._flush()

    def finish(self, record: Record | None) -> None:
        """Write all that is waiting."""
        self._flush()

    def _write(self, evaluation: Evaluation) -> None:
        values = self.run.scalars(evaluation)
        event = Event(time.time(), evaluation.experiences, (*values,), (*values.values(),))
        self.waiting.append(event)
        if len(self.waiting) >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        if self.waiting:
            self.file.write(self.waiting)
        self.waiting, self.written = [], time.monotonic()
