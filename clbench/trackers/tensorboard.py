"""Writes curves for TensorBoard: world accuracy, accuracy by cell or class, diagnostics.

``tensorboard --logdir runs`` shows them. ``accuracy/`` has a curve for each cell (a class in a
domain) where there are at most 32, else for each class, at most 32. A resumed run continues its
curves. Evaluations that follow each other quickly are written by the block: handing each to the
library's thread by itself takes longer than to write it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from clbench.tracker import Evaluation, Progress, RunStart, Tracker

if TYPE_CHECKING:
    from clbench.results.record import Record


BLOCK, SECONDS = 64, 2.0
"""Evaluations that are written at once, and how long one waits where more come."""


class TensorBoard(Tracker):
    """Writes one event for each evaluation, with all of its values."""

    def start(self, run: RunStart) -> None:
        """Open the writer; hide what was written after the checkpoint and will come again."""
        from torch.utils.tensorboard import SummaryWriter

        self.run = run
        folder = run.folder / "tensorboard"
        unknown = run.past if not any(folder.glob("events*")) else ()
        lost = run.experiences + 1 if run.experiences else None
        make: Any = SummaryWriter
        self.writer = make(str(folder), purge_step=lost)
        now = time.time()
        # Those were made before this tracker was chosen.
        self.waiting: list[tuple[Evaluation, float]] = [(e, now) for e in unknown]
        self._write()
        self.written = 0.0  # the first evaluation is shown at once

    def progress(self, progress: Progress) -> None:
        """Take a new evaluation; write what is waiting once it is many or has waited long."""
        now = time.time()
        if progress.is_new:
            self.waiting.append((progress.evaluation, now))
        if len(self.waiting) >= BLOCK or (self.waiting and now - self.written >= SECONDS):
            self._write()

    def finish(self, record: Record | None) -> None:
        """Write all that is waiting."""
        self._write()
        self.writer.close()

    def _write(self) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        for evaluation, at in self.waiting:
            values = self.run.scalars(evaluation).items()
            event = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values])
            self.writer.file_writer.add_summary(event, evaluation.experiences, at)
        self.waiting, self.written = [], time.time()
