"""Describes a diagonal Fisher layer by layer, and compares two of them.

A released Fisher of a vision transformer was found to be poorly conditioned (Ovsianas et al. 2022,
arXiv 2210.16365); what can be done about it is in ``clbench.fisher.change``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clbench.errors import UsageError
from clbench.util.tensor_files import shown

LEVELS = (0.05, 0.5, 0.95)
POOR_CONDITION = 1e6
"""Condition number from which a float32 step for the largest entries leaves the smallest unchanged."""
TOP_SHARE = 0.1
ALL = "all"
"""The name of the row over all tensors."""


@dataclass(frozen=True)
class Layer:
    """The entries of one tensor, or of all."""

    name: str
    size: int
    zeros: float
    """Share of entries that are 0."""
    quantiles: tuple[float, ...]
    """At ``LEVELS``, of all entries."""
    largest: float
    trace: float
    """The sum."""
    condition: float | None
    """Largest over smallest positive entry; None where none is positive. With zeros, the diagonal
    as a whole is singular."""


@dataclass(frozen=True)
class Agreement:
    """The entries of one tensor, or of all, in two releases."""

    name: str
    size: int
    correlation: float | None
    """Pearson's; None where one of the two is constant."""
    overlap: float | None
    """``sum_i sqrt(a_i b_i)`` of the two scaled to trace 1: 1 minus the squared Fréchet distance of
    Kirkpatrick et al. 2017 (PNAS 114:3521, supplement), in [0, 1]; None where a trace is 0."""
    top: float | None
    """The share of one's largest 10 % of entries that is in the other's largest 10 %."""
    ratio: float | None
    """Trace of the second divided by that of the first."""


def layers(fisher: Mapping[str, Tensor]) -> list[Layer]:
    """One row per tensor, then one over all."""
    values = {name: _numbers(tensor) for name, tensor in fisher.items()}
    rows = [_layer(name, v) for name, v in values.items()]
    return [*rows, _layer(ALL, np.concatenate([*values.values()]))]


def compare(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[Agreement]:
    """One row per tensor, then one over all.

    Raises:
        UsageError: naming the first tensor that only one has, or of another shape.
    """
    for name in [*a, *b]:
        if name not in a or name not in b:
            raise UsageError(f"only one of the two has tensor {shown(name)}")
        if a[name].shape != b[name].shape:
            raise UsageError(
                f"tensor {shown(name)} has shape {tuple(a[name].shape)} in one and "
                f"{tuple(b[name].shape)} in the other"
            )
    pairs = {name: (_numbers(a[name]), _numbers(b[name])) for name in a}
    rows = [_agreement(name, x, y) for name, (x, y) in pairs.items()]
    whole = [np.concatenate(side) for side in zip(*pairs.values(), strict=True)]
    return [*rows, _agreement(ALL, whole[0], whole[1])]


def advice(whole: Layer) -> str | None:
    """Advice if a diagonal is poorly conditioned or mostly zero, else None."""
    if whole.condition is None:
        return "every entry is 0, so the penalty has no effect"
    if whole.condition < POOR_CONDITION and whole.zeros < 0.5:
        return None
    return (
        f"poorly conditioned (condition {whole.condition:.0e}, {whole.zeros:.0%} zeros): "
        "clbench fisher convert with --clip 0.999 bounds the largest entries, --floor 1e-4 the "
        "softest"
    )


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float64).reshape(-1).numpy()


def _layer(name: str, values: np.ndarray) -> Layer:
    positive = values[values > 0]
    return Layer(
        name=name,
        size=len(values),
        zeros=float((values == 0).mean()) if len(values) else 0.0,
        quantiles=tuple(np.quantile(values, LEVELS).tolist()) if len(values) else (0.0,) * 3,
        largest=float(values.max(initial=0)),
        trace=float(values.sum()),
        # As Python's floats, which overflow silently; JSON has no infinity.
        condition=min(float(positive.max()) / float(positive.min()), sys.float_info.max)
        if len(positive)
        else None,
    )


def _agreement(name: str, a: np.ndarray, b: np.ndarray) -> Agreement:
    sums = a.sum(), b.sum()
    both = sums[0] > 0 and sums[1] > 0
    return Agreement(
        name=name,
        size=len(a),
        correlation=_correlation(a, b),
        overlap=float(np.sqrt(a / sums[0] * (b / sums[1])).sum()) if both else None,
        top=_top(a, b) if both else None,
        ratio=float(sums[1] / sums[0]) if sums[0] > 0 else None,
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    if len(a) < 2 or (a == a[0]).all() or (b == b[0]).all():
        return None
    # Scaled first: entries may be so small that their squares vanish.
    x, y = (v / v.max() for v in (a, b))
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / np.sqrt((x @ x) * (y @ y)))


def _top(a: np.ndarray, b: np.ndarray) -> float:
    k = max(1, round(len(a) * TOP_SHARE))
    first, second = (np.argpartition(v, len(v) - k)[-k:] for v in (a, b))
    chosen = np.zeros(len(a), dtype=bool)
    chosen[first] = True
    return float(chosen[second].sum() / k)
