"""Declares the bounds of settings beside their types, and checks them in one place.

A setting says which values it takes in its annotation: ``lr: Annotated[float, Positive]``. Every group
of settings is checked by ``check``, from words and from Python alike. The bound of a tuple holds for
each of its values, and null is always within bounds. What two settings may not be together stays in
``__post_init__``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from inspect import get_annotations
from typing import Annotated, Any, get_args, get_origin

from clbench.errors import UsageError


@dataclass(frozen=True)
class Within:
    """The finite numbers from ``low`` to ``high``; an open end is left out."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def allows(self, value: float) -> bool:
        """Whether a number is within the bounds; NaN and infinity never are."""
        if isinstance(value, float) and not math.isfinite(value):
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        """The bound as an error and a help text say it: ``at least 1``, ``in [0, 1)``."""
        if self.high == math.inf:
            if self.low == 0 and self.open_low:
                return "positive"
            return f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"in {left}{self.low:g}, {self.high:g}{right}"


@dataclass(frozen=True)
class AtLeast(Within):
    """The finite numbers from ``low`` on."""


Positive = Within(0, open_low=True)
"""The finite numbers above 0."""


def check(settings: Any, group: str) -> None:
    """Refuse a setting that is outside its declared bounds.

    Args:
        settings: a dataclass.
        group: what stands before the dot in its settings' names, say ``strategy``; may be empty.

    Raises:
        UsageError: naming the first such setting.
    """
    for name, bound in bounds(type(settings)).items():  # type: ignore[arg-type]
        value = getattr(settings, name)
        parts = value if isinstance(value, tuple) else (value,)
        numbers = [part for part in parts if isinstance(part, int | float)]
        if all(bound.allows(number) for number in numbers):
            continue
        must = "must be" if parts == (value,) else "has a value that must be"
        finite = "finite and " if float in map(type, numbers) and bound.high == math.inf else ""
        prefix = f"{group}." if group else ""
        shown = value if parts == (value,) else list(parts)
        raise UsageError(f"{prefix}{name}={shown} {must} {finite}{bound}")


NO_EFFECT = "has no effect with"
"""In what is said of a setting that would change nothing."""


def refuse_set(
    settings: Any,
    without_effect: Mapping[str, str],
    group: str,
    misleading: Mapping[str, str] | None = None,
) -> None:
    """Refuse a setting that would change nothing, or not what it says.

    Args:
        settings: a dataclass.
        without_effect: ``{setting: what it has no effect with}``.
        group: what stands before the dot in its settings' names.
        misleading: ``{setting: what it would do}``.

    Raises:
        UsageError: naming the first that is not at its default.
    """
    told = {name: f"{NO_EFFECT} {why}" for name, why in without_effect.items()}
    told |= misleading or {}
    for f in fields(settings):
        if f.name in told and getattr(settings, f.name) != f.default:
            raise UsageError(f"{group}.{f.name} {told[f.name]}: leave it out")


def switched_on(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A plug-in's settings without its name and what is off: ``none``, and tuning where all is tuned.

    So what is said of a plug-in stays where it gets a setting that is off by default.
    """
    off = {"name", *(key for key, value in settings.items() if value == "none")}
    if settings.get("tune") == "full":
        off |= {key for key in settings if key == "tune" or key.startswith("tune_")}
    return {key: value for key, value in settings.items() if key not in off}


@cache
def bounds(cls: type[Any]) -> dict[str, Within]:
    """The bounds that a dataclass declares for its settings, by name.

    A subclass that declares a setting again, say for another default, keeps the bound of the base
    unless it declares one itself.
    """
    found: dict[str, Within] = {}
    for base in reversed(cls.__mro__):
        own: dict[str, Any] = get_annotations(base, eval_str=True)
        for name, kind in own.items():
            extras = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
            found.update((name, extra) for extra in extras if isinstance(extra, Within))
    return found
