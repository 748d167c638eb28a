"""Memory that a run asks for and the machine does not have, explained by the setting that asks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clbench.errors import ClbenchError, UsageError

_ALLOCATOR = re.compile(
    r"can't allocate|unable to allocate|could not allocate|out of memory|not enough memory"
    r"|storage size calculation overflow|integer multiplication overflow|overflow when unpacking"
    r"|maximum (supported|allowed) dimension|array is too big|too large to convert",
    re.IGNORECASE,
)
"""What the allocators of torch and numpy say."""
_BYTES = re.compile(r"allocate (\d+) bytes")


@contextmanager
def explained(what: str, **groups: Any) -> Iterator[None]:
    """Turn a failed allocation into one line with the setting that is most likely too large.

    That is the largest whole number among the settings that differ from their defaults, else among
    all. Other errors pass.

    Args:
        what: what is being made, such as ``the strategy``.
        **groups: dataclasses of settings, by the name of their group.

    Raises:
        UsageError: in place of an allocator's error.
    """
    try:
        yield
    except ClbenchError:
        raise
    except (MemoryError, RuntimeError, OverflowError, ValueError, TypeError) as error:
        if not isinstance(error, MemoryError) and not _ALLOCATOR.search(str(error)):
            raise
        asked = _BYTES.search(str(error))
        size = f" ({int(asked[1]) / 1e9:,.1f} GB at once)" if asked else ""
        setting = largest(groups)
        fix = f"{setting}: " if setting else ""
        raise UsageError(
            f"{fix}{what} needs more memory than there is{size}; lower this setting"
        ) from error


def largest(groups: dict[str, Any]) -> str:
    """The largest whole number of some settings as one types it; empty if there is none."""
    found = []
    for group, settings in groups.items():
        for f in dataclasses.fields(settings):
            value = getattr(settings, f.name)
            parts = value if isinstance(value, tuple) else (value,)
            numbers = [v for v in parts if isinstance(v, int) and not isinstance(v, bool)]
            if numbers:
                shown = str(list(value)).replace(" ", "") if value is parts else str(value)
                found.append((value != f.default, max(numbers), f"{group}.{f.name}={shown}"))
    return max(found)[2] if found else ""
