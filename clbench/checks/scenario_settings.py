"""A scenario under other settings than its defaults, one at a time; and settings it must refuse."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from clbench.checks.finding import Failed, NotApplicable
from clbench.checks.pools import N_CLASSES, fitting
from clbench.configure.config import resolve_point
from clbench.data.pool import Pool
from clbench.errors import UsageError
from clbench.plugins.registry import Plugin
from clbench.stream import Stream

EXPERIENCES = 6
SIZES = ("n_tasks", "classes_per_task", "chunk")
"""Settings that count something, wherever a scenario has them."""
SMALL = {"n_tasks": "4", "chunk": "50", "classes_per_task": "3", "n_classes": "4"}
"""Values that fit the small pool."""


@dataclass(frozen=True)
class Variant:
    """Settings other than the defaults, and how many experiences of them are looked at."""

    settings: Mapping[str, str]
    experiences: int

    def __str__(self) -> str:
        given = ", ".join(f"scenario.{name}={value}" for name, value in self.settings.items())
        return given or "default settings"


def make_stream(
    plugin: Plugin, settings: Mapping[str, str], seed: int = 0, pool: Pool | None = None
) -> Stream:
    """The stream over the small pool, from settings as a user writes them.

    Raises:
        UsageError: the settings are refused.
    """
    given = {f"scenario.{name}": value for name, value in settings.items()}
    # A run needs a strategy; a stream does not depend on it.
    point = {"scenario": str(plugin.path), "strategy": "naive", **given}
    stream: Stream = resolve_point(point).scenario.stream(pool or fitting(plugin), seed)
    return stream


def attempted(plugin: Plugin, settings: Mapping[str, str], pool: Pool) -> Stream | None:
    """The stream, or None where the settings or the pool are refused."""
    try:
        return make_stream(plugin, settings, pool=pool)
    except UsageError:
        return None


def variants(plugin: Plugin) -> list[Variant]:
    """The default settings, and each setting changed by itself where that is accepted."""
    found = []
    for settings in [{}, *_changed(plugin)]:
        stream = attempted(plugin, settings, fitting(plugin))
        if stream is not None:
            found.append(Variant(settings, at_most(EXPERIENCES, stream)))
        elif not settings:
            make_stream(plugin, settings)  # the defaults have to work: let the error be seen
    return found


def at_most(n: int, stream: Stream) -> int:
    """``n`` experiences, or all where there are fewer."""
    return n if stream.n_tasks is None else min(n, stream.n_experiences(stream.n_tasks))


def _changed(plugin: Plugin) -> list[dict[str, str]]:
    hints = typing.get_type_hints(plugin.load())
    return [
        {field.name: value}
        for field in dataclasses.fields(plugin.load())
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


def refuses_unknown_settings(plugin: Plugin) -> None:
    """A setting that it does not have is refused before anything runs."""
    _refused(plugin, {"no_such_setting": "1"}, "declare all settings as fields")


def refuses_senseless_settings(plugin: Plugin) -> None:
    """NaN is refused for every number, and a size below one."""
    hints = typing.get_type_hints(plugin.load())
    for field in dataclasses.fields(plugin.load()):
        if float in {hints[field.name], *typing.get_args(hints[field.name])}:
            _refused(
                plugin,
                {field.name: "nan"},
                "declare its bounds, say Annotated[float, AtLeast(0)] (clbench.settings)",
            )
        for value in ("0", "-1") if field.name in SIZES else ():
            _refused(
                plugin,
                {field.name: value},
                "declare it as Annotated[int, AtLeast(1)]",
            )


def refuses_more_classes_than_there_are(plugin: Plugin) -> None:
    """More classes in a task than the data have are refused, not cut to fit."""
    if "classes_per_task" not in {field.name for field in dataclasses.fields(plugin.load())}:
        raise NotApplicable("it has no setting classes_per_task")
    too_many = {"classes_per_task": str(N_CLASSES + 1)}
    _refused(plugin, too_many, f"raise UsageError in stream(): the pool has {N_CLASSES} classes")


def _refused(plugin: Plugin, settings: Mapping[str, str], mend: str) -> None:
    if attempted(plugin, settings, fitting(plugin)) is not None:
        given = ", ".join(f"scenario.{name}={value}" for name, value in settings.items())
        raise Failed(f"accepts {given}; {mend}")
