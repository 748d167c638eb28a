"""What the checks of one plug-in share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from clbench.plugins.registry import Plugin

T = TypeVar("T")


class Rig:
    """A plug-in under test, with what was made to look at it; lives as long as its suite.

    Checks only look at what they share. A check that changes what it looks at makes its own.
    """

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self._made: dict[Hashable, Any] = {}

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` returned when it was first called under this name."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made
