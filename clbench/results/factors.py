"""Which factor hurts: test samples counted by what is known of how each was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SEPARATE = 8
"""A number with at most so many values is taken as it is; with more, in ``BRACKETS``."""
BRACKETS = 5
MAX_BRACKETS = 64
"""Values that a factor may have: those of one with more say nothing each."""


@dataclass(frozen=True)
class Factors:
    """The brackets of all factors, and the one that each test sample is in, factor by factor."""

    brackets: tuple[tuple[str, str, int], ...]
    """Factor, bracket, test samples in it."""
    code: Tensor
    """``(n_factors, n)`` int64: numbers of brackets, samples in canonical order."""
    truth: Tensor
    """``(n,)`` int64 labels in canonical order."""

    def correct(self, answers: Tensor) -> list[int]:
        """Correct answers in each bracket, from ``(n,)`` predictions in canonical order."""
        right = (answers == self.truth).long().expand_as(self.code)
        counts = self.code.new_zeros(len(self.brackets))
        found: list[int] = counts.scatter_add_(0, self.code.flatten(), right.flatten()).tolist()
        return found

    def as_dict(self, correct: list[list[int]]) -> dict[str, Any]:
        """For the record."""
        names = ("factor", "bracket", "size")
        brackets = [dict(zip(names, bracket, strict=True)) for bracket in self.brackets]
        return {"brackets": brackets, "correct": correct}


def bracketed(values: Mapping[str, np.ndarray], truth: Tensor) -> Factors | None:
    """Factors from ``(n,)`` values each, numbers or names; None where nothing varies.

    Args:
        values: by the factor's name, in canonical order.
        truth: ``(n,)`` int64 labels in the same order, on the device of the predictions.
    """
    brackets: list[tuple[str, str, int]] = []
    codes = []
    for factor, column in values.items():
        names, code = _cut(column)
        if not 2 <= len(names) <= MAX_BRACKETS:
            continue
        sizes = np.bincount(code, minlength=len(names)).tolist()
        codes.append(code + len(brackets))
        brackets += [(factor, name, size) for name, size in zip(names, sizes, strict=True)]
    if not codes:
        return None
    return Factors(tuple(brackets), truth.new_tensor(np.stack(codes)), truth)


def _cut(values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names of brackets, and the number of that of each value."""
    known, code = np.unique(values, return_inverse=True)
    if len(known) <= SEPARATE or known.dtype.kind not in "if":
        return [f"{v:.4g}" if known.dtype.kind == "f" else str(v) for v in known.tolist()], code
    edges = np.unique(np.quantile(values, np.arange(1, BRACKETS) / BRACKETS))
    number, code = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)
    ends = np.concatenate((known[:1], edges, known[-1:]))
    return [f"{ends[k]:.3g} to {ends[k + 1]:.3g}" for k in number.tolist()], code


@dataclass(frozen=True)
class Accuracy:
    """The final accuracy in each bracket of one factor, a mean over records."""

    factor: str
    brackets: tuple[str, ...]
    sizes: tuple[int, ...]
    accuracy: tuple[float, ...]

    @property
    def spread(self) -> float:
        """From the worst bracket to the best."""
        return max(self.accuracy) - min(self.accuracy)


def final(factors: Sequence[Mapping[str, Any]]) -> list[Accuracy]:
    """Accuracy at the end by factor, that which parts good from bad most clearly first.

    Args:
        factors: of records that differ in their seed alone; those with other brackets than the
            first are left out.
    """
    brackets = factors[0]["brackets"]
    same = [f for f in factors if f["brackets"] == brackets and f["correct"]]
    if not same:
        return []
    size = np.array([b["size"] for b in brackets])
    mean = np.mean([np.array(f["correct"][-1]) / size for f in same], axis=0)
    found = []
    for factor in dict.fromkeys(b["factor"] for b in brackets):
        at = [k for k, b in enumerate(brackets) if b["factor"] == factor]
        names, sizes = zip(
            *((brackets[k]["bracket"], brackets[k]["size"]) for k in at), strict=True
        )
        found.append(Accuracy(factor, names, sizes, tuple(mean[at].tolist())))
    return sorted(found, key=lambda a: -a.spread)


def faults(factors: Mapping[str, Any], right: Sequence[int]) -> list[str]:
    """What is wrong with counts that are of the right form.

    Args:
        factors: as a record has them.
        right: of the whole world, the correct answers at each evaluation.
    """
    size = np.array([b["size"] for b in factors["brackets"]], dtype=np.int64)
    names = [b["factor"] for b in factors["brackets"]]
    if [len(row) for row in factors["correct"]] != [len(names)] * len(right):
        return ["factors.correct must have a row for each evaluation, a column for each bracket"]
    correct = np.array(factors["correct"], dtype=np.int64).reshape(-1, len(names))
    if (correct < 0).any() or (correct > size).any():
        return ["factors.correct is outside 0..size"]
    for factor in dict.fromkeys(names):
        at = [k for k, name in enumerate(names) if name == factor]
        if correct[:, at].sum(1).tolist() != list(right):
            return [f"factors.correct of {factor} does not add up to counts.correct"]
    return []
