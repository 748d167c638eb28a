"""From ``key=value`` words to frozen dataclasses.

Precedence: dataclass defaults < the scenario's recommendation < file < command line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clbench.configure.argument import spelt_out
from clbench.configure.common import (
    Common,
    at_default,
    having_role,
    left_out,
    plain,
    plain_defaults,
)
from clbench.configure.protocol import Protocol, protocol_of
from clbench.configure.sweep import sweep
from clbench.configure.typed import LONGEST, build, gathered, is_required, names
from clbench.configure.words import quote
from clbench.errors import UsageError
from clbench.plugins.blame import blamed, kind, place
from clbench.plugins.registry import (
    FOLDERS_WORD,
    GROUPS,
    Plugin,
    default_of,
    did_you_mean,
    find,
    stand_in,
)

REQUIRED = ("scenario", "strategy")
NO_ENCODER = "none"
"""``encoder=none``: raw samples; said where a file or a scenario would have it otherwise."""


@dataclass(frozen=True)
class RunConfig:
    """Everything one run is made of. The plug-ins' settings are their own dataclasses."""

    scenario: Any
    strategy: Any
    data: Any
    model: Any
    common: Common
    plugins: Mapping[str, Plugin]
    overrides: tuple[str, ...] = ()
    """What the user passed, as words; of a path only the file's name."""
    protocol: Protocol | None = None
    """Where the run is one of a leaderboard."""
    encoder: Any = None
    """Where samples are the latents of a frozen encoder."""
    model_from: str = ""
    """What recommends the model, such as ``data=mnist5k``; empty where the run names one."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the run has something of: all but, mostly, the encoder."""
        return tuple(group for group in GROUPS if group in self.plugins)

    def as_dict(self) -> dict[str, Any]:
        """The resolved settings as plain data; of a path only the file's name."""
        groups = {
            group: {"name": self.plugins[group].name, **_plain(getattr(self, group))}
            for group in self.groups
        }
        return {**groups, **_plain(self.common)}

    def as_file(self) -> dict[str, Any]:
        """Settings that ``--config`` takes back on this machine: paths are whole."""
        settings = self.as_dict()
        for group, plugin in self.plugins.items():
            if plugin.given_as_path:
                settings[group]["name"] = str(plugin.path)
            for f in dataclasses.fields(getattr(self, group)):
                value = getattr(getattr(self, group), f.name)
                if isinstance(value, Path):
                    settings[group][f.name] = str(value.absolute())
        return settings

    def exact(self) -> dict[str, Any]:
        """The settings that make it this experiment, each with its value: for ``config_sha256``."""
        settings = self.as_dict()
        for name in settings.keys() & left_out(settings):
            del settings[name]
        for group in self.groups:
            cls = type(getattr(self, group))
            for name in _paths(getattr(self, group)) | having_role(cls, "never"):
                del settings[group][name]
        return settings

    def identity(self) -> dict[str, Any]:
        """The settings that differ from their defaults, and those that always count.

        It names the run's folder. A setting at its default is left out, so that a setting that is
        added later renames no run.
        """
        settings = self.exact()
        for name in [*at_default(settings)]:
            del settings[name]
        for group in self.groups:
            if self.plugins[group].bridge:
                continue  # another library's defaults may change with its version
            cls = type(getattr(self, group))
            defaults = plain_defaults(cls)
            kept = {"name"} | having_role(cls, "always")
            settings[group] = {
                name: value
                for name, value in settings[group].items()
                if name in kept or name not in defaults or defaults[name] != value
            }
        return settings


@dataclass
class Known:
    """Plug-ins and settings that one sweep has found so far; it lasts as long as the sweep.

    A plug-in that is edited meanwhile is that of the sweep's start in all its runs.
    """

    plugins: dict[tuple[str, str], tuple[Plugin, type[Any]]] = field(default_factory=dict)
    """By group and word."""
    defaults: dict[str, str] = field(default_factory=dict)
    """What a group has where none is named."""
    settings: dict[tuple[object, ...], Any] = field(default_factory=dict)
    """Frozen settings, by their class and by what was given."""

    def plugin(self, group: str, word: str) -> tuple[Plugin, type[Any]]:
        """A plug-in and its class.

        Raises:
            UsageError: there is none, or it does not load.
        """
        if (group, word) not in self.plugins:
            found = find(group, word)
            self.plugins[group, word] = found, found.load()
        return self.plugins[group, word]

    def default(self, group: str) -> str:
        """The option of a group that a run has where none is named.

        Raises:
            UsageError: there is none.
        """
        if group not in self.defaults:
            self.defaults[group] = default_of(group)
        return self.defaults[group]

    def build(
        self, cls: type[Any], given: Mapping[str, Any], prefix: str, words: Sequence[str] = ()
    ) -> Any:
        """Typed settings, as ``clbench.configure.typed.build`` makes them."""
        key = (cls, prefix, *((k, type(value), repr(value)) for k, value in given.items()))
        if key not in self.settings:
            self.settings[key] = build(cls, given, prefix, words)
        return self.settings[key]


def _paths(settings: Any) -> set[str]:
    """Settings that hold a path: where a file is says nothing of what is in it."""
    names = (f.name for f in dataclasses.fields(settings))
    return {name for name in names if isinstance(getattr(settings, name), Path)}


def _plain(settings: Any) -> dict[str, Any]:
    return {f.name: plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


def resolve(overrides: Sequence[str], file: Path | None = None) -> list[RunConfig]:
    """Every run that the words ask for: a cartesian product, the last key varying fastest.

    Raises:
        UsageError: any word is wrong; nothing has been run.
    """
    known = Known()
    return [resolve_point(point, known) for point in sweep(overrides, file)]


def resolve_point(point: Mapping[str, Any], known: Known | None = None) -> RunConfig:
    """One run's settings, typed and checked, from its ``{key: value}``.

    Args:
        point: the run's settings by name.
        known: what other points of the same sweep have found; extended.

    Raises:
        UsageError: any of them is wrong.
    """
    known = Known() if known is None else known
    point, words = {k: v for k, v in point.items() if k != "overrides"}, point.get("overrides", ())
    protocol, point = protocol_of(point)
    _refuse_unknown_heads(point)
    for group in REQUIRED:
        if group not in point:
            raise UsageError(f"{group}= is required (clbench list {FOLDERS_WORD[group]})")
    chosen: dict[str, Plugin] = {}
    classes: dict[str, type[Any]] = {}
    for group in REQUIRED:
        chosen[group], classes[group] = known.plugin(group, str(point[group]))
    scenario = classes["scenario"]
    point = spelt_out("scenario", str(point["scenario"]), chosen["scenario"], scenario, point)
    point = {**_suited(scenario.recommends(chosen["scenario"].argument), point), **point}
    data = str(point["data"]) if "data" in point else known.default("data")
    chosen["data"], classes["data"] = known.plugin("data", data)
    point = spelt_out("data", data, chosen["data"], classes["data"], point)
    if protocol:
        settings = _fill("strategy", chosen["strategy"], classes["strategy"], point, known, words)
        point = protocol.with_budget(
            point, names(type(settings)) - settings.without_effect().keys()
        )
    point = _with_encoder(point, chosen, classes, known)
    built = {
        group: _fill(group, chosen[group], classes[group], point, known, words) for group in chosen
    }
    model = point["model"] if "model" in point else _default_model(built, chosen, known)
    adviser = "encoder" if "encoder" in built else "data"
    chosen["model"], network = known.plugin("model", str(model))
    point = spelt_out("model", str(model), chosen["model"], network, point)
    built["model"] = _fill("model", chosen["model"], network, point, known, words)
    common = {k: v for k, v in point.items() if k in names(Common)}
    config = RunConfig(
        **built,
        common=known.build(Common, common, ""),
        plugins=chosen,
        overrides=tuple(words),
        protocol=protocol,
        model_from="" if "model" in point else f"{adviser}={chosen[adviser].name}",
    )
    if protocol:
        protocol.check(config.as_dict())
    return config


def _default_model(built: Mapping[str, Any], chosen: Mapping[str, Plugin], known: Known) -> str:
    """The model that a run's encoder or data recommend.

    Raises:
        UsageError: they recommend none that there is; it names the plug-in's file and line.
    """
    group = "encoder" if "encoder" in built else "data"
    with blamed("default_model() fails", chosen[group], "default_model"):
        name: str = built[group].default_model()
        if not isinstance(name, str):
            raise TypeError(f"it must return the name of a model, not {kind(name)}")
    if ("model", name) not in known.plugins:
        try:
            find("model", name)
        except UsageError as error:
            where = place(chosen[group], "default_model")
            raise UsageError(f"{where}: default_model() returns {name!r}: {error}") from error
    return name


def _suited(recommended: Mapping[str, object], point: Mapping[str, Any]) -> dict[str, object]:
    """A scenario's recommendations where the user says nothing else.

    What it recommends for an option's settings goes with the option: where the user takes another
    (or none), nothing is left of it.
    """
    named = {group for group in GROUPS if group in recommended and group in point}
    return {
        key: value
        for key, value in recommended.items()
        if key not in point and key.partition(".")[0] not in named
    }


def _with_encoder(
    point: Mapping[str, Any],
    chosen: dict[str, Plugin],
    classes: dict[str, type[Any]],
    known: Known,
) -> dict[str, Any]:
    """Choose the run's encoder, if it has one; ``timm:resnet18`` spelt out as its setting.

    Raises:
        UsageError: there is no such encoder, or there are settings for none.
    """
    name = str(point.get("encoder", NO_ENCODER))
    if name == NO_ENCODER:
        for key in point:
            if key.startswith("encoder."):
                raise UsageError(f"{key} is set, but there is no encoder: add encoder=NAME")
        return dict(point)
    plugin, cls = known.plugin("encoder", name)
    chosen["encoder"], classes["encoder"] = plugin, cls
    return spelt_out("encoder", name, plugin, cls, point)


def _refuse_unknown_heads(point: Mapping[str, Any]) -> None:
    known = {*GROUPS, *names(Common), "board", "division", "tuned"}
    for key in point:
        head, dot, _ = key.partition(".")
        if head not in known or (dot and head not in GROUPS):
            settings = {} if dot else _groups_by_setting(point)
            if head in settings:
                value = str(point[key])
                words = " or ".join(f"{g}.{head}={value[:LONGEST]}" for g in settings[head])
                raise UsageError(f"{key} is a setting of a plug-in: write {words}")
            hint = did_you_mean(head, known, {n: groups[0] for n, groups in settings.items()})
            raise UsageError(f"unknown setting {key[:LONGEST]!r}{hint} (clbench show)")


def _groups_by_setting(point: Mapping[str, Any]) -> dict[str, list[str]]:
    """The groups of each setting of the plug-ins that a run has chosen, as far as they are found."""
    found: dict[str, list[str]] = {}
    for group in GROUPS:
        try:
            value = point.get(group, default_of("data") if group == "data" else None)
            if value is None and group == "model":
                data = find("data", str(point.get("data", default_of("data"))))
                value = data.with_defaults().default_model()
            if value in (None, NO_ENCODER):
                continue
            cls = find(group, str(value)).load()
            for name in names(cls.Config if group == "strategy" else cls):
                found.setdefault(name, []).append(group)
        except Exception:  # whatever is wrong with it is told when the key is right
            continue
    return found


def _fill(
    group: str,
    plugin: Plugin,
    cls: type[Any],
    point: Mapping[str, Any],
    known: Known,
    words: Sequence[str] = (),
) -> Any:
    """A plug-in's settings from the ``group.*`` keys of a run; ``words`` are for its errors."""
    config = cls.Config if group in ("strategy", "tracker") else cls
    prefix = group + "."
    given = {key.removeprefix(prefix): v for key, v in point.items() if key.startswith(prefix)}
    given = gathered(config, given)
    unknown = set(given) - names(config)
    for name in sorted(unknown):
        hint = did_you_mean(name, names(config))
        raise UsageError(
            f"{group} {plugin.name!r} has no setting {name!r}{hint} "
            f"(clbench show {group}={plugin.name}; in a sweep, address one arm: NAME.{name}=...)"
        )
    for f in dataclasses.fields(config):
        if is_required(f) and f.name not in given:
            raise UsageError(
                f"{group} {plugin.name!r} needs {prefix}{f.name}=... "
                f"(clbench show {group}={plugin.name})"
            )
    with blamed("its settings cannot be made", plugin, config.__name__, cls.__name__):
        return known.build(config, given, prefix, words)


def stand_in_words() -> tuple[str, str]:
    """Words for a scenario and a strategy, where settings require them and neither is used."""
    found = (f"{group}={quote(stand_in(group).word)}" for group in REQUIRED)
    scenario, strategy = found
    return scenario, strategy


def tracker_settings(plugin: Plugin, cls: type[Any], given: Mapping[str, str]) -> Any:
    """A tracker's ``Config`` from its settings as text.

    Raises:
        UsageError: one of them is unknown or not of its type.
    """
    return _fill(
        "tracker", plugin, cls, {f"tracker.{name}": v for name, v in given.items()}, Known()
    )
