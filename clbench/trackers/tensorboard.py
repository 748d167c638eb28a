"""Writes curves for TensorBoard: world accuracy, accuracy by cell or class, diagnostics.

``tensorboard --logdir runs`` shows them. ``accuracy/`` has a curve for each cell (a class in a
domain) where there are at most 32, else for each class, at most 32. A resumed run continues its
curves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clbench.tracker import Evaluation, Progress, RunStart, Tracker

if TYPE_CHECKING:
    from clbench.results.record import Record


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
        for evaluation in unknown:  # made before this tracker was chosen
            self._write(evaluation)

    def progress(self, progress: Progress) -> None:
        """Write a new evaluation."""
        if progress.is_new:
            self._write(progress.evaluation)

    def finish(self, record: Record | None) -> None:
        """Write all that is waiting."""
        self.writer.close()

    def _write(self, evaluation: Evaluation) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = self.run.scalars(evaluation).items()
        event = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values])
        self.writer.file_writer.add_summary(event, evaluation.experiences)
