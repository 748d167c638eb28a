"""The space that a setting is tuned over, declared at its field.

``lam: float = field(default=1.0, metadata={"space": Log(0.01, 100)})``. A setting that declares none
is not tuned. The space is no part of what a strategy computes, so it counts in no run's identity.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Log:
    """Positive numbers from ``low`` to ``high``, drawn evenly on a log scale."""

    low: float
    high: float
    times: str = ""
    """A property of the settings whose value both ends are multiples of; empty: none. So a range of
    learning rates is around the optimizer's own default."""

    def at(self, share: float) -> float:
        """The number at a share of the range, ``share`` in [0, 1)."""
        return self.low * math.exp(share * math.log(self.high / self.low))

    def as_dict(self) -> dict[str, list[Any]]:
        """As a trial table has it."""
        return {"log": [self.low, self.high]}


@dataclass(frozen=True)
class Uniform:
    """Numbers from ``low`` to ``high``, drawn evenly."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The number at a share of the range, ``share`` in [0, 1)."""
        return self.low + share * (self.high - self.low)

    def as_dict(self) -> dict[str, list[Any]]:
        """As a trial table has it."""
        return {"uniform": [self.low, self.high]}


class Choices:
    """A few values, each as likely as the others."""

    def __init__(self, *values: Any) -> None:
        if not values:
            raise ValueError("Choices needs a value")
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choices) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)

    def at(self, share: float) -> Any:
        """The value at a share of the list, ``share`` in [0, 1)."""
        return self.values[int(share * len(self.values))]

    def as_dict(self) -> dict[str, list[Any]]:
        """As a trial table has it."""
        return {"choices": [*self.values]}


Space = Log | Uniform | Choices


def from_dict(data: Mapping[str, list[Any]]) -> Space:
    """The space of a trial table.

    Raises:
        ValueError: it is none.
    """
    [(kind, values)] = data.items() if len(data) == 1 else [("", [])]
    if kind == "choices" and values:
        return Choices(*values)
    low, high = (float(v) for v in values) if len(values) == 2 else (0.0, 0.0)
    if kind == "log" and 0 < low < high < math.inf:
        return Log(low, high)
    if kind == "uniform" and -math.inf < low < high < math.inf:
        return Uniform(low, high)
    raise ValueError(f"{dict(data)} is no space: log, uniform or choices")


def declared(settings: type) -> dict[str, Space]:
    """The spaces that a settings dataclass declares, by setting.

    A subclass that declares a setting again keeps the space of the base unless it gives another, or
    ``None`` for none.
    """
    found: dict[str, Space] = {}
    for base in reversed(settings.__mro__):
        for name, f in vars(base).get("__dataclass_fields__", {}).items():
            if "space" not in f.metadata:
                continue
            if f.metadata["space"] is None:
                found.pop(name, None)
            else:
                found[name] = f.metadata["space"]
    return found


def of(settings: Any) -> dict[str, Space]:
    """The spaces of settings as they are: ranges that are multiples become ranges of numbers."""
    return {name: _resolved(space, settings) for name, space in declared(type(settings)).items()}


def _resolved(space: Space, settings: Any) -> Space:
    if not isinstance(space, Log) or not space.times:
        return space
    factor = float(getattr(settings, space.times))
    return Log(float(f"{space.low * factor:.6g}"), float(f"{space.high * factor:.6g}"))


def as_word(value: Any) -> str:
    """A value as a word has it; a number to three digits."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def drawn(spaces: Mapping[str, Space], key: str, trial: int) -> dict[str, str]:
    """The settings of one trial of a random search, as words have them.

    Trial 0 is the default: nothing is set. Each draw is a hash of (key, trial, name), so that it can
    be computed again anywhere, and a further setting changes no other one's draws.

    Args:
        spaces: by setting.
        key: names the search; a board's hash.
        trial: from 0.
    """
    if trial == 0:
        return {}
    return {name: as_word(space.at(_share(key, trial, name))) for name, space in spaces.items()}


def _share(key: str, trial: int, name: str) -> float:
    digest = hashlib.sha256(f"{key}/{trial}/{name}".encode()).hexdigest()
    return int(digest[:13], 16) / 16**13
