"""A scenario under other settings than its defaults, one at a time; and settings it must refuse."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

from clbench.checks.finding import Failed, NotApplicable
from clbench.checks.pools import N_CLASSES, fitting
from clbench.checks.rig import Rig
from clbench.configure.config import resolve_point
from clbench.data.pool import Pool
from clbench.errors import UsageError
from clbench.plugins.registry import Plugin, stand_in
from clbench.scenario import Scenario
from clbench.stream import Stream, TaskData
from clbench.world import World

EXPERIENCES = 6
SIZES = ("n_tasks", "classes_per_task", "chunk")
"""Settings that count something, wherever a scenario has them."""
SMALL = {"n_tasks": "4", "chunk": "50", "classes_per_task": "3", "n_classes": "4"}
"""Values that fit the small pool."""


@dataclass(frozen=True)
class Variant:
    """Settings other than the defaults, how many experiences of them are looked at, and a stream."""

    settings: Mapping[str, str]
    experiences: int
    scenario: Scenario
    pool: Pool
    stream: Stream
    """One for all checks that only look."""

    def __str__(self) -> str:
        given = ", ".join(f"scenario.{name}={value}" for name, value in self.settings.items())
        return given or "default settings"

    def anew(self, seed: int = 0, pool: Pool | None = None) -> Stream:
        """Make a stream that has not been asked for anything, from the same settings.

        Raises:
            UsageError: the pool is refused.
        """
        scenario = dataclasses.replace(self.scenario)
        return scenario.stream(pool or self.pool, seed)

    @cached_property
    def world(self) -> World:
        """The world of the stream that checks share."""
        return self.stream.world()

    @cached_property
    def _delivered(self) -> dict[int, TaskData]:
        return {}

    def experience(self, number: int) -> TaskData:
        """An experience of the stream that checks share, gathered once."""
        if number not in self._delivered:
            self._delivered[number] = self.stream.experience(number)
        return self._delivered[number]


def make_stream(plugin: Plugin, settings: Mapping[str, str]) -> Stream:
    """The stream over the small pool, from settings as a user writes them.

    Raises:
        UsageError: the settings are refused.
    """
    return _resolved(plugin, settings).stream(fitting(plugin), 0)


def _resolved(plugin: Plugin, settings: Mapping[str, str]) -> Scenario:
    given = {f"scenario.{name}": value for name, value in settings.items()}
    # A run needs a strategy; a stream does not depend on it.
    point = {"scenario": str(plugin.path), "strategy": stand_in("strategy").word, **given}
    scenario: Scenario = resolve_point(point).scenario
    return scenario


def variants(rig: Rig) -> list[Variant]:
    """The default settings, and each setting changed by itself where that is accepted."""
    return rig.once("variants", partial(_variants, rig.plugin))


def _variants(plugin: Plugin) -> list[Variant]:
    found, pool = [], fitting(plugin)
    for settings in [{}, *_changed(plugin)]:
        try:
            scenario = _resolved(plugin, settings)
            stream = scenario.stream(pool, 0)
        except UsageError:
            if not settings:  # the defaults have to work
                raise
            continue
        found.append(Variant(settings, at_most(EXPERIENCES, stream), scenario, pool, stream))
    return found


def at_most(n: int, stream: Stream) -> int:
    """``n`` experiences, or all where there are fewer."""
    return n if stream.n_tasks is None else min(n, stream.n_experiences(stream.n_tasks))


def _changed(plugin: Plugin) -> list[dict[str, str]]:
    """Its own settings; those that every scenario has act on whatever stream it makes."""
    hints = typing.get_type_hints(plugin.load())
    common = {field.name for field in dataclasses.fields(Scenario)}
    return [
        {field.name: value}
        for field in dataclasses.fields(plugin.load())
        if field.name not in common
        for value in _others(field.name, hints[field.name], field.default)
    ]


def _others(name: str, kind: object, default: object) -> list[str]:
    """Values that a setting may have besides its default, as a user writes them."""
    if typing.get_origin(kind) is Literal:
        return [str(value) for value in typing.get_args(kind) if value != default]
    kinds = {kind, *typing.get_args(kind)}
    values: list[str] = ["null"] if type(None) in kinds and default is not None else []
    if bool in kinds:
        return [*values, str(not default).lower()]
    if int in kinds:
        return [*values, SMALL.get(name, str(default + 1 if isinstance(default, int) else 2))]
    if float in kinds:
        spread = [0.5 * default, 2.0 * default] if isinstance(default, float) else [0.5]
        return [*values, *(str(value) for value in spread)]
    return values


def refuses_unknown_settings(rig: Rig) -> None:
    """A setting that it does not have is refused before anything runs."""
    _refused(rig.plugin, {"no_such_setting": "1"}, "declare all settings as fields")


def refuses_senseless_settings(rig: Rig) -> None:
    """NaN is refused for every number, and a size below one."""
    hints = typing.get_type_hints(rig.plugin.load())
    for field in dataclasses.fields(rig.plugin.load()):
        if float in {hints[field.name], *typing.get_args(hints[field.name])}:
            _refused(
                rig.plugin,
                {field.name: "nan"},
                "declare its bounds, say Annotated[float, AtLeast(0)] (clbench.settings)",
            )
        for value in ("0", "-1") if field.name in SIZES else ():
            _refused(
                rig.plugin,
                {field.name: value},
                "declare it as Annotated[int, AtLeast(1)]",
            )


def refuses_more_classes_than_there_are(rig: Rig) -> None:
    """More classes in a task than the data have are refused, not cut to fit."""
    if "classes_per_task" not in {field.name for field in dataclasses.fields(rig.plugin.load())}:
        raise NotApplicable("it has no setting classes_per_task")
    too_many = {"classes_per_task": str(N_CLASSES + 1)}
    _refused(
        rig.plugin, too_many, f"raise UsageError in stream(): the pool has {N_CLASSES} classes"
    )


def _refused(plugin: Plugin, settings: Mapping[str, str], mend: str) -> None:
    try:
        make_stream(plugin, settings)
    except UsageError:
        return
    given = ", ".join(f"scenario.{name}={value}" for name, value in settings.items())
    raise Failed(f"accepts {given}; {mend}")
