"""What a scenario plug-in is: a frozen dataclass of settings that makes a stream of a pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from clbench.data.pool import Pool
from clbench.errors import UsageError
from clbench.stream import Stream


@dataclass(frozen=True)
class Scenario(ABC):
    """Base of every scenario; its fields are the settings ``scenario.<field>``."""

    recommended: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Defaults of other settings that suit the scenario, such as ``{"eval_every": 1}``."""

    takes: ClassVar[type] = Pool
    """The kind of pool that it needs, raw or under an encoder; most take any."""

    @abstractmethod
    def stream(self, pool: Pool, seed: int) -> Stream:
        """The stream over a pool, a function of the settings and the seed alone.

        Raises:
            UsageError: the pool cannot give what the settings ask for.
        """

    def files(self) -> tuple[Path, ...]:
        """Source files beside the plug-in's own whose code makes the stream."""
        return ()


def at_least(low: int, settings: Scenario, *names: str) -> None:
    """Refuse settings below ``low``; None passes.

    Raises:
        UsageError: naming the setting.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < low:
            raise UsageError(f"scenario.{name}={value} must be at least {low}")
