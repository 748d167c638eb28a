"""When evaluations are due: a function of the schedule and the number of experiences alone."""

from __future__ import annotations

from functools import lru_cache


def is_due(schedule: str, number: int) -> bool:
    """Whether an evaluation follows experience ``number`` (counted from 1).

    ``log``: about ten evaluations a decade, at 1, 2, ..., 10, 13, 16, 20, 25, 32, ...
    """
    if schedule != "log":
        return number % int(schedule) == 0
    decade = 10 ** (len(str(number)) - 1)
    if decade == 1:
        return True
    return number in {round(decade * 10 ** (k / 10)) for k in range(10)}


@lru_cache(maxsize=16)
def evaluations(schedule: str, experiences: int) -> tuple[int, ...]:
    """The experiences learnt at each evaluation of a whole run: none, those that are due, all."""
    due = (n for n in range(1, experiences + 1) if is_due(schedule, n))
    return tuple(dict.fromkeys([0, *due, experiences]))
