"""Drifting attributes: given as ``rotation=0>1.5``, or by the name of a predefined drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from clbench.data.synbols.distributions import Choice, Course, Distribution, parse
from clbench.data.synbols.spec import INTEGERS, RANGES, Spec
from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean

BETWEEN = ">"
PATTERNS_OF = ("foreground", "background")
DRIFTS: dict[str, tuple[str, ...]] = {
    "patterns": (
        "foreground=solid>gradient>camouflage_level>natural",
        "background=solid>gradient>camouflage_upright>natural",
    ),
    "rotation": ("rotation=normal:0:0.1>normal:1.5:0.1",),
    "scale": ("scale=lognormal:0.9:0.1>lognormal:0.3:0.1",),
    "occlusion": ("n_occlusions=0>1>2>3>4",),
    "noise": ("pixel_noise_scale=0>0.3",),
}
"""Predefined drifts (Synbols has none): patterns from plain to photographs, rotation by a quarter
turn, scale down to a third, occlusion, noise."""
Named = Literal["patterns", "rotation", "scale", "occlusion", "noise"]


@dataclasses.dataclass(frozen=True)
class Drifting:
    """A spec with attributes that are functions of stream time."""

    spec: Spec
    n_stops: int
    """The largest number of stops."""
    steps: bool
    """Whether no attribute takes values between its stops, and all have equally many stops."""


def drifting(spec: Spec, words: Sequence[str], mixes: bool) -> Drifting:
    """Make a spec with attributes that go through several distributions in turn.

    Args:
        spec: the spec; its other attributes are kept.
        words: ``name=first>second>...``; values as in ``distributions.parse``.
        mixes: between two stops, draw names, counts and truth values from either instead of the
            nearest. Numbers are always interpolated linearly.

    Raises:
        UsageError: an attribute is unknown, a value is out of range, or nothing drifts.
    """
    courses: dict[str, Distribution] = {}
    known = [*RANGES, *PATTERNS_OF]
    for word in words:
        name, _, value = word.partition("=")
        if name not in known:
            raise UsageError(f"drift {word!r}: no attribute {name!r}{did_you_mean(name, known)}")
        try:
            stops = tuple(parse(stop) for stop in value.split(BETWEEN))
        except UsageError as error:
            raise UsageError(f"drift {name}: {error}") from None
        if len(stops) < 2:
            raise UsageError(f"drift {word!r}: write {name}=first{BETWEEN}second, or more")
        if len({_is_text(stop) for stop in stops}) > 1:
            raise UsageError(f"drift {word!r}: all stops must be of one kind")
        moves = name not in INTEGERS and name not in PATTERNS_OF
        courses[name] = Course(stops, moves, mixes and not moves)
    if not courses:
        raise UsageError("a drift needs an attribute: [rotation=0>1.5]")
    lengths = {len(c.stops) for c in courses.values() if isinstance(c, Course)}
    return Drifting(
        dataclasses.replace(spec, **courses),  # type: ignore[arg-type]
        n_stops=max(lengths),
        steps=len(lengths) == 1
        and not any(c.moves or c.mixes for c in courses.values() if isinstance(c, Course)),
    )


def _is_text(distribution: Distribution) -> bool:
    return isinstance(distribution, Choice) and isinstance(distribution.values[0], str)
