"""Writes metrics.csv in the run's folder: one row per evaluation, with every cell's accuracy.

The columns are ``experiences``, ``world_accuracy``, one for each cell (a class in a domain) and one
for each diagnostic. Accuracies are in [0, 1]. A resumed run continues the file and repeats no row.
A run that is killed leaves whole rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from clbench.tracker import Evaluation, Progress, RunStart, Tracker
from clbench.util.atomic import write_atomically
from clbench.util.text import as_cell


class Csv(Tracker):
    """Writes the file from the run's past at the start, then appends row by row."""

    def start(self, run: RunStart) -> None:
        """Write the rows that the checkpoint has; what was lost with it is reported again."""
        self.run, self.path = run, run.folder / "metrics.csv"
        names = (name for evaluation in run.past for name in evaluation.diagnostics)
        self.diagnostics = list(dict.fromkeys(names))
        self._rewrite([self._row(evaluation) for evaluation in run.past])

    def progress(self, progress: Progress) -> None:
        """Append the row of a new evaluation."""
        if not progress.is_new:
            return
        new = [name for name in progress.evaluation.diagnostics if name not in self.diagnostics]
        if new:
            with self.path.open(encoding="utf-8", newline="") as file:
                _, *rows = csv.reader(file)
            self.diagnostics += new
            self._rewrite([[*row, *[""] * len(new)] for row in rows])
        with self.path.open("ab", buffering=0) as raw:  # one call to the system for a whole row
            raw.write(_lines([self._row(progress.evaluation)]))

    def _rewrite(self, rows: Iterable[Sequence[str]]) -> None:
        names = [*(cell.name for cell in self.run.cells), *self.diagnostics]
        header = ["experiences", "world_accuracy", *(as_cell(name) for name in names)]
        write_atomically(self.path, _lines([header, *rows]))

    def _row(self, evaluation: Evaluation) -> list[str]:
        accuracies = [evaluation.world_accuracy, *self.run.accuracies(evaluation).values()]
        measured = [evaluation.diagnostics.get(name) for name in self.diagnostics]
        values = ["" if v is None else repr(v) for v in (*accuracies, *measured)]
        return [str(evaluation.experiences), *values]


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
