"""What a check says: passed, or one line on what is wrong and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clbench import seeding
from clbench.checks.rig import Rig

Check = Callable[[Rig], None]
"""Looks at a plug-in; returns if all is well, else raises."""


class Failed(Exception):
    """The plug-in breaks its contract; one line: what is wrong, and how to mend it."""


class NotApplicable(Exception):
    """The check does not concern this plug-in; one line: why."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    check: str
    """The name of the check, as a sentence in snake case."""
    passed: bool
    message: str
    """What is wrong and how to mend it; where it passed, empty or why it did not apply."""


def attempt(check: Check, rig: Rig) -> Finding:
    """Run one check, deterministically and leaving no trace in the process; never raises."""
    name = getattr(check, "__name__", str(check))
    try:
        with seeding.preserved(threads=1):
            check(rig)
    except NotApplicable as why:
        return Finding(name, True, f"does not apply: {why}")
    except Failed as failure:
        return Finding(name, False, str(failure))
    except Exception as error:  # a plug-in may raise anything
        return Finding(name, False, explain(error, rig.plugin.path))
    return Finding(name, True, "")


def explain(error: BaseException, path: Path) -> str:
    """Type and first line of an error, with the line of the plug-in's own file where it arose."""
    first = (str(error).splitlines() or [""])[0]
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" ({path.name} line {line})" if line else ""
    return f"{type(error).__name__}: {first[:300]}{where}"
