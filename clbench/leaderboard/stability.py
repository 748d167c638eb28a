"""Whether a result stands on its own: what a perturbation far below any meaning moves.

A learning rate × (1 + 1e-6) and another number of threads change nothing that a method is about. Where
they move the primary by as much as another seed would, a run is chaotic, and its last digits say
nothing. An entry is unstable where the rms over seeds of the change exceeds half the sd over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clbench.errors import UsageError
from clbench.leaderboard.verification import sd
from clbench.settings import NO_EFFECT
from clbench.strategy import GradientStrategy

RELATIVE = 1e-6
"""Of the learning rate."""
SHARE = 0.5
"""Of the sd over seeds; a larger change is unstable."""
SEEDS = 3
"""Seeds that are perturbed, unless said."""


@dataclass(frozen=True)
class Stability:
    """What perturbations moved."""

    seeds: list[int]
    rate_rms: float | None
    """Root mean square of the change with another rate; None where no rate has an effect."""
    threads_rms: float | None
    """Likewise with another number of threads."""
    sd: float
    """Standard deviation of the primary over the seeds of the board that were run."""
    unstable: bool


Arm = Callable[[int, float | None, int | None], float]
"""Runs a seed with another rate or another number of threads; returns the primary."""


def measure(
    run: Arm, base: Mapping[int, float], seeds: Sequence[int], rate: float | None, threads: int
) -> Stability:
    """Run perturbed arms and judge them.

    Args:
        run: runs one seed.
        base: the primary without perturbation, by seed; the sd is taken over all of it.
        seeds: the seeds to perturb, each in ``base``.
        rate: the learning rate; None: there is none to change. One that the strategy refuses, because
            it has no effect with the other settings, is none either.
        threads: the number of threads of the base.
    """
    other = 2 if threads == 1 else 1
    try:
        moved = None if rate is None else rate * (1 + RELATIVE)
        rates = None if moved is None else _rms([run(s, moved, None) - base[s] for s in seeds])
    except UsageError as error:
        if NO_EFFECT not in str(error):
            raise
        rates = None
    by_threads = _rms([run(s, None, other) - base[s] for s in seeds])
    return judged(list(seeds), rates, by_threads, sd([*base.values()]))


def judged(
    seeds: list[int], rate_rms: float | None, threads_rms: float | None, spread: float
) -> Stability:
    """Judge changes that were measured."""
    largest = max(rate_rms or 0.0, threads_rms or 0.0)
    return Stability(seeds, rate_rms, threads_rms, spread, largest > SHARE * spread)


def line(found: Stability) -> str:
    """What perturbations moved, in points."""
    said = "unstable" if found.unstable else "stable"
    moves = [
        f"{name} {100 * rms:.3f}"
        for name, rms in (("rate", found.rate_rms), ("threads", found.threads_rms))
        if rms is not None
    ]
    return f"{said}: points moved (rms) by {', '.join(moves)}; sd over seeds {100 * found.sd:.3f}"


def rate_of(settings: Mapping[str, Any]) -> float | None:
    """The learning rate of a strategy's settings, resolved; None where it has none."""
    if "lr" not in settings:
        return None
    if settings["lr"] is not None:
        return float(settings["lr"])
    optimizer = str(settings.get("optimizer", "sgd"))
    return GradientStrategy.Config(optimizer=optimizer).base_lr


def _rms(changes: Sequence[float]) -> float:
    return math.sqrt(math.fsum(c * c for c in changes) / max(1, len(changes)))
