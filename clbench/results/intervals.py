"""Means over seeds with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """Mean and half width of the 95 % Student-t interval over n values; None where undefined."""

    mean: float | None
    half_width: float | None
    n: int


def t_interval(values: Sequence[float]) -> Interval:
    """Mean ± 95 % Student-t half width; a bootstrap covers only 73 % at n = 3, 84 % at n = 5."""
    n = len(values)
    if n == 0:
        return Interval(None, None, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, 1)
    from scipy.stats import t

    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    return Interval(mean, float(t.ppf(0.975, n - 1)) * spread / math.sqrt(n), n)
