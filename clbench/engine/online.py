"""What the ledger keeps of predictions made before learning, and of the clock of operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Rows = tuple[int, int, int, int, list[int], list[int]]
"""A ``Predicted`` as plain data."""


class Predicted(NamedTuple):
    """What was right of one experience before it was learnt."""

    size: int
    """Its labelled samples."""
    correct: int
    blind: int
    """What the last known label would have had right."""
    ahead: int
    """Right answers on the experience ``prequential_ahead`` further on; 0 where there is none."""
    class_size: list[int]
    """``(n_classes,)`` labelled samples by class; empty where there are too many classes."""
    class_correct: list[int]


@dataclass
class OnlineLedger:
    """Counts of the experiences that have gone by, and of those predicted in advance; plain data."""

    size: list[int] = field(default_factory=list)
    """``(E,)``, as the lists below: an entry for each experience that has gone by."""
    correct: list[int] = field(default_factory=list)
    blind: list[int] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)
    class_size: list[int] = field(default_factory=list)
    """``(n_classes,)``: over all of these experiences."""
    class_correct: list[int] = field(default_factory=list)
    waiting: list[Rows] = field(default_factory=list)
    """Experiences that are predicted and have not gone by, in their order."""
    labels: list[int] = field(default_factory=list)
    """The last label of each of the newest ``label_delay + 1`` experiences predicted; -1: none yet."""
    samples: int = 0
    """Samples predicted, those of further passes too."""
    counted: list[tuple[int, int, int, int, bool]] = field(default_factory=list)
    """``counting.Counted`` of the predictions that were counted, by samples."""
    missed: list[int] = field(default_factory=list)
    """Experiences whose labels came when the strategy was busy."""
    flops_per_sample: int = 0
    """Operations that a passing sample gives; 0: there is no clock."""
    debt: int = 0
    """Operations that the strategy is behind the stream."""
    spent: int = 0
    """Operations of all training under the clock."""

    @property
    def n_predicted(self) -> int:
        """Experiences that are predicted, whether or not they have gone by."""
        return len(self.size) + len(self.waiting)

    def pass_by(self) -> None:
        """Enter the oldest waiting experience among those that have gone by."""
        found = Predicted(*self.waiting.pop(0))
        for name in ("size", "correct", "blind", "ahead"):
            getattr(self, name).append(getattr(found, name))
        self.class_size = _sum(self.class_size, found.class_size)
        self.class_correct = _sum(self.class_correct, found.class_correct)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OnlineLedger:
        """Convert from plain data."""
        return cls(**data)

    def for_record(self, window: int, distance: int) -> dict[str, Any]:
        """The field ``online`` of a record.

        Args:
            window: experiences of the sliding window.
            distance: of the predictions ahead; 0: there are none.
        """
        n = len(self.size)
        by_class = {"size": self.class_size, "correct": self.class_correct}
        known = self.ahead[: max(0, n - distance)]  # the sizes of the others are not in the record
        clock = {
            "flops_per_sample": self.flops_per_sample,
            "spent_flops": self.spent,
            "missed": self.missed,
        }
        return {
            "size": self.size,
            "correct": self.correct,
            "blind": self.blind,
            "window": window,
            "classes": by_class if self.class_size else None,
            "ahead": {"distance": distance, "correct": known} if distance else None,
            "realtime": clock if self.flops_per_sample else None,
        }


def _sum(a: list[int], b: list[int]) -> list[int]:
    return [x + y for x, y in zip(a, b, strict=True)] if a else b
