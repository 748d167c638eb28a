"""Distributions of attributes: constants, distributions, and functions of stream time.

All draw by inversion, one uniform number per value, so a drift changes each image gradually instead
of redrawing it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clbench.errors import UsageError

Value = bool | int | float | str


class Distribution(Protocol):
    """Of numbers, truth values or names."""

    def quantile(self, u: np.ndarray, time: np.ndarray) -> np.ndarray:
        """The values at uniform numbers ``u`` in (0, 1) and stream times in [0, 1]; same shapes."""


@dataclass(frozen=True)
class Choice:
    """One of several values, with equal or given probabilities."""

    values: tuple[Value, ...]
    chances: tuple[float, ...] | None = None

    def quantile(self, u: np.ndarray, time: np.ndarray) -> np.ndarray:
        """See ``Distribution``."""
        n = len(self.values)
        ends = np.cumsum(self.chances or (1 / n,) * n)[:-1]
        return np.array(self.values)[np.searchsorted(ends, u, side="right")]


def constant(value: Value) -> Choice:
    """A constant."""
    return Choice((value,))


@dataclass(frozen=True)
class Uniform:
    """Uniform between ``low`` and ``high``."""

    low: float
    high: float

    def quantile(self, u: np.ndarray, time: np.ndarray) -> np.ndarray:
        """See ``Distribution``."""
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True)
class Normal:
    """Gaussian."""

    mean: float
    std: float

    def quantile(self, u: np.ndarray, time: np.ndarray) -> np.ndarray:
        """See ``Distribution``."""
        from scipy.special import ndtri

        return np.asarray(self.mean + self.std * ndtri(u))


@dataclass(frozen=True)
class LogNormal:
    """``median * exp(N(0, std))``."""

    median: float
    std: float

    def quantile(self, u: np.ndarray, time: np.ndarray) -> np.ndarray:
        """See ``Distribution``."""
        return np.asarray(self.median * np.exp(Normal(0, self.std).quantile(u, time)))


@dataclass(frozen=True)
class Drift:
    """From one distribution of numbers to another, with linearly interpolated quantiles.

    Between two of one location-scale family, mean and deviation change linearly.
    """

    start: Distribution
    end: Distribution

    def quantile(self, u: np.ndarray, time: np.ndarray) -> np.ndarray:
        """See ``Distribution``."""
        start, end = self.start.quantile(u, time), self.end.quantile(u, time)
        return np.asarray((1 - time) * start + time * end)


@dataclass(frozen=True)
class Shift:
    """A mixture of two distributions, also of names; the share of the second is the time."""

    start: Distribution
    end: Distribution

    def quantile(self, u: np.ndarray, time: np.ndarray) -> np.ndarray:
        """See ``Distribution``."""
        late = u < time
        late_u = np.where(late, u / np.where(late, time, 1), 0.5)
        early_u = np.where(late, 0.5, (u - time) / np.where(late, 1, 1 - time))
        early_u = np.clip(early_u, 2.0**-53, 1 - 2.0**-53)
        early, after = self.start.quantile(early_u, time), self.end.quantile(late_u, time)
        return np.where(late, after, early)


@dataclass(frozen=True)
class Course:
    """Through several distributions in turn, evenly spread over stream time."""

    stops: tuple[Distribution, ...]
    moves: bool = True
    """Interpolate numbers linearly between two stops; take the nearest stop for others."""
    mixes: bool = False
    """Draw from either of two stops, with a growing share of the second; also for names."""

    def quantile(self, u: np.ndarray, time: np.ndarray) -> np.ndarray:
        """See ``Distribution``."""
        last = len(self.stops) - 1
        at = np.asarray(time, dtype=float) * last
        between = self.moves or self.mixes
        low = np.minimum(np.floor(at), max(0, last - 1)) if between else np.floor(at + 0.5)
        out: np.ndarray | None = None
        for stop in np.unique(low).astype(int).tolist():
            here = low == stop
            two = self.stops[stop], self.stops[min(stop + 1, last)]
            way: Distribution = two[0]
            if between:
                way = Shift(*two) if self.mixes else Drift(*two)
            values = way.quantile(u[here], at[here] - stop)
            if out is None:
                out = np.empty(u.shape, dtype=values.dtype)
            if values.dtype.itemsize > out.dtype.itemsize:  # a longer name
                out = out.astype(values.dtype)
            out[here] = values
        assert out is not None
        return out


def parse(text: str) -> Distribution:
    """``0.5``, ``true``, ``gradient``, ``a|b``, ``normal:0:0.3``, ``uniform:0:1``, ``lognormal:..``.

    Raises:
        UsageError: the text is none of these.
    """
    head, *rest = text.split(":")
    families: dict[str, Callable[[float, float], Distribution]] = {
        "normal": Normal,
        "uniform": Uniform,
        "lognormal": LogNormal,
    }
    if head in families:
        try:
            first, second = (float(word) for word in rest)
        except ValueError:
            raise UsageError(f"{text!r}: write {head}:NUMBER:NUMBER") from None
        if not (math.isfinite(first) and math.isfinite(second)):
            raise UsageError(f"{text!r}: the numbers must be finite")
        if second < (first if head == "uniform" else 0):
            raise UsageError(f"{text!r}: the second number is too small")
        return families[head](first, second)
    if rest or not text:
        raise UsageError(
            f"{text!r}: write a value, a|b, normal:MEAN:STD, uniform:LOW:HIGH or lognormal:MEDIAN:STD"
        )
    values = tuple(_value(word) for word in text.split("|"))
    kinds = {str if isinstance(v, str) else bool if isinstance(v, bool) else float for v in values}
    if len(kinds) > 1:
        raise UsageError(f"{text!r}: all values must be of one kind")
    return Choice(values)


def _value(word: str) -> Value:
    if word in ("true", "false"):
        return word == "true"
    try:
        number = float(word)
    except ValueError:
        return word
    if not math.isfinite(number):
        raise UsageError(f"{word}: must be a finite number")
    return int(number) if number.is_integer() and "." not in word and "e" not in word else number
