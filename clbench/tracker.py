"""The base of trackers: observers that are told how a run goes and change nothing of it.

A tracker is a file with one subclass of ``Tracker``; ``tracker=mine.py`` uses it. ``progress`` is
called after every experience and every evaluation, with values that cannot be changed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from clbench.results.record import Record
    from clbench.world import Cell

MAX_CURVES = 32
"""A tracker that draws curves of accuracy draws at most this many of them."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on all test samples."""

    experiences: int
    """Experiences learnt before it."""
    world_accuracy: float
    """The share of all test samples that were right, in [0, 1]."""
    correct: tuple[int, ...]
    """``(n_cells,)`` right answers in each cell of the run, in the order of ``RunStart.cells``."""
    diagnostics: Mapping[str, float]
    """What the strategy and the run's ``diagnostics`` measured; only finite values."""


@dataclass(frozen=True)
class RunStart:
    """What is known of a run before its first experience, or before it is resumed."""

    folder: Path
    """The run's folder. A tracker writes its files here."""
    title: str
    """The names of the arm and the seed, such as ``ewc-1a2b3c4d seed0``."""
    settings: Mapping[str, Any]
    """The resolved settings: those of each group under its name, then those of every run."""
    seed: int
    cells: tuple[Cell, ...]
    """The cells (a class in a domain) that every evaluation counts right answers in."""
    sizes: tuple[int, ...]
    """``(n_cells,)`` test samples in each cell."""
    n_experiences: int | None
    """Experiences of the whole run; None where the stream has no end."""
    experiences: int = 0
    """Experiences learnt before: 0, or where the run is resumed."""
    past: tuple[Evaluation, ...] = ()
    """The evaluations made before. They were reported when they were made, so a tracker that keeps
    them has them. What it has beyond them was lost with the checkpoint and is reported again."""

    @property
    def is_resumed(self) -> bool:
        """Whether the run goes on from a checkpoint."""
        return self.experiences > 0 or bool(self.past)

    def flat_settings(self) -> dict[str, Any]:
        """The settings under the names that one types: ``strategy`` and ``strategy.lr``."""
        flat: dict[str, Any] = {}

        def add(key: str, value: Any) -> None:
            if not isinstance(value, Mapping):
                flat[key] = value
                return
            for name, inner in value.items():
                add(key if name == "name" else f"{key}.{name}", inner)

        for key, value in self.settings.items():
            add(key, value)
        return flat

    def accuracies(self, evaluation: Evaluation) -> dict[str, float]:
        """The accuracy of every cell by its name, such as ``class_3`` or ``class_3/domain_1``."""
        shares = (n / size for n, size in zip(evaluation.correct, self.sizes, strict=True))
        return dict(zip(self._names, shares, strict=True))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(cell.name for cell in self.cells)

    def scalars(self, evaluation: Evaluation) -> dict[str, float]:
        """What there is to draw: ``world_accuracy``, ``accuracy/...`` and ``diagnostics/...``.

        Accuracies are those of the cells where there are at most ``MAX_CURVES``, else those of the
        classes over all their cells, of which the first ``MAX_CURVES``.
        """
        accuracies = self.accuracies(evaluation)
        if len(self.cells) > MAX_CURVES:
            accuracies = self._by_class(evaluation)
        values = {"world_accuracy": evaluation.world_accuracy}
        values.update((f"accuracy/{name}", value) for name, value in accuracies.items())
        values.update((f"diagnostics/{k}", v) for k, v in evaluation.diagnostics.items())
        return values

    def _by_class(self, evaluation: Evaluation) -> dict[str, float]:
        right: dict[int, int] = {}
        total: dict[int, int] = {}
        for cell, n, size in zip(self.cells, evaluation.correct, self.sizes, strict=True):
            right[cell.label] = right.get(cell.label, 0) + n
            total[cell.label] = total.get(cell.label, 0) + size
        return {f"class_{c}": right[c] / total[c] for c in sorted(right)[:MAX_CURVES]}


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    experiences: int
    """Experiences learnt."""
    n_experiences: int | None
    """Experiences of the whole run; None where the stream has no end."""
    tasks: int
    """Tasks that have ended."""
    samples: int
    """Training samples delivered."""
    evaluation: Evaluation
    """The last evaluation."""
    is_new: bool
    """Whether the evaluation was made since the last report."""


class Tracker(ABC):
    """Is told how a run goes.

    An error in a tracker does not end the run. It is printed as one line, the tracker is switched
    off, and the record has a warning. What a tracker draws from torch's, numpy's or Python's global
    generators changes no result.
    """

    @dataclass(frozen=True)
    class Config:
        """The tracker's settings; ``tracker.NAME=VALUE`` on the command line."""

    def __init__(self, config: Any) -> None:
        """Keep the settings.

        Every tracker of a sweep is built before the first run starts. One that cannot work, say for
        a missing package, raises ``UsageError`` here, and nothing is run. It must change nothing.

        Args:
            config: the tracker's own ``Config``.
        """
        self.config = config

    def start(self, run: RunStart) -> None:  # noqa: B027 - a tracker need not do anything here
        """Begin to follow a run; called once, before the first report."""

    @abstractmethod
    def progress(self, progress: Progress) -> None:
        """Take note of an experience or an evaluation. It is called often: be quick."""

    def finish(self, record: Record | None) -> None:  # noqa: B027
        """Leave the run; called once, after the last report.

        Args:
            record: a copy of what is in ``record.json``. Its ``status`` says how the run ended;
                an interrupted run may be resumed later. None where there is no record.
        """
