"""From ``key=value`` words to frozen dataclasses: where OmegaConf begins and ends.

Precedence: dataclass defaults < the scenario's recommendation < file < command line.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clbench.configure.common import (
    Common,
    always,
    at_default,
    left_out,
    plain,
    plain_defaults,
)
from clbench.configure.protocol import Protocol, protocol_of
from clbench.configure.sweep import sweep
from clbench.configure.words import Quoted
from clbench.errors import UsageError
from clbench.plugins.blame import blamed, kind, place
from clbench.plugins.registry import FOLDERS_WORD, GROUPS, Plugin, did_you_mean, find
from clbench.settings import check
from clbench.util.yaml_files import YamlError, load

REQUIRED = ("scenario", "strategy")
LONGEST = 100
"""Characters of a value that an error repeats."""
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
            for name in _paths(getattr(self, group)):
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
            kept = {"name"} | always(cls)
            settings[group] = {
                name: value
                for name, value in settings[group].items()
                if name in kept or name not in defaults or defaults[name] != value
            }
        return settings


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
    return [resolve_point(point) for point in sweep(overrides, file)]


def resolve_point(point: Mapping[str, Any]) -> RunConfig:
    """One run's settings, typed and checked, from its ``{key: value}``.

    Raises:
        UsageError: any of them is wrong.
    """
    point, words = {k: v for k, v in point.items() if k != "overrides"}, point.get("overrides", ())
    protocol, point = protocol_of(point)
    for group in REQUIRED:
        if group not in point:
            raise UsageError(f"{group}= is required (clbench list {FOLDERS_WORD[group]})")
    _refuse_unknown_heads(point)
    chosen = {group: find(group, str(point[group])) for group in REQUIRED}
    classes = {group: plugin.load() for group, plugin in chosen.items()}
    point = {**_suited(classes["scenario"].recommended, point), **point}
    chosen["data"] = find("data", str(point.get("data", "digits")))
    classes["data"] = chosen["data"].load()
    if protocol:
        point = protocol.with_budget(point, _names(classes["strategy"].Config))
    point = _with_encoder(point, chosen, classes)
    built = {group: _fill(group, chosen[group], classes[group], point, words) for group in chosen}
    model = point["model"] if "model" in point else _default_model(built, chosen)
    chosen["model"] = find("model", str(model))
    built["model"] = _fill("model", chosen["model"], chosen["model"].load(), point, words)
    common = _build(Common, {k: v for k, v in point.items() if k in _names(Common)}, "", words)
    config = RunConfig(
        **built, common=common, plugins=chosen, overrides=tuple(words), protocol=protocol
    )
    if protocol:
        protocol.check(config.as_dict())
    return config


def _default_model(built: Mapping[str, Any], chosen: Mapping[str, Plugin]) -> str:
    """The model that a run's encoder or data recommend.

    Raises:
        UsageError: they recommend none that there is; it names the plug-in's file and line.
    """
    group = "encoder" if "encoder" in built else "data"
    with blamed("default_model() fails", chosen[group], "default_model"):
        name: str = built[group].default_model()
        if not isinstance(name, str):
            raise TypeError(f"it must return the name of a model, not {kind(name)}")
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
    point: Mapping[str, Any], chosen: dict[str, Plugin], classes: dict[str, type[Any]]
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
    plugin = find("encoder", name)
    cls = plugin.load()
    chosen["encoder"], classes["encoder"] = plugin, cls
    if plugin.argument is None:
        return dict(point)
    if not cls.argument:
        raise UsageError(f"encoder={name}: {plugin.name} takes nothing after a colon")
    key = f"encoder.{cls.argument}"
    if str(point.get(key, plugin.argument)) != plugin.argument:
        raise UsageError(f"encoder={name} and {key}={point[key]}: give it once")
    return {**point, key: plugin.argument}


def _refuse_unknown_heads(point: Mapping[str, Any]) -> None:
    known = {*GROUPS, *_names(Common), "board", "division", "tuned"}
    for key in point:
        head, dot, _ = key.partition(".")
        if head not in known or (dot and head not in GROUPS):
            owners = [] if dot else _owners(head, point)
            if owners:
                value = str(point[key])
                words = " or ".join(f"{owner}={value[:LONGEST]}" for owner in owners)
                raise UsageError(f"{key} is a setting of a plug-in: write {words}")
            hint = did_you_mean(head, known)
            raise UsageError(f"unknown setting {key[:LONGEST]!r}{hint} (clbench show)")


def _owners(name: str, point: Mapping[str, Any]) -> list[str]:
    """A setting's whole names in the plug-ins that a run has chosen, as far as they can be found."""
    found = []
    for group in GROUPS:
        try:
            value = point.get(group, "digits" if group == "data" else None)
            if value is None and group == "model":
                data = find("data", str(point.get("data", "digits"))).load()
                value = data().default_model()
            if value in (None, NO_ENCODER):
                continue
            cls = find(group, str(value)).load()
            if name in _names(cls.Config if group == "strategy" else cls):
                found.append(f"{group}.{name}")
        except Exception:  # whatever is wrong with it is told when the key is right
            continue
    return found


def _fill(
    group: str,
    plugin: Plugin,
    cls: type[Any],
    point: Mapping[str, Any],
    words: Sequence[str] = (),
) -> Any:
    """A plug-in's settings from the ``group.*`` keys of a run; ``words`` are for its errors."""
    config = cls.Config if group in ("strategy", "tracker") else cls
    prefix = group + "."
    given = {key.removeprefix(prefix): v for key, v in point.items() if key.startswith(prefix)}
    unknown = set(given) - _names(config)
    for name in sorted(unknown):
        hint = did_you_mean(name, _names(config))
        raise UsageError(
            f"{group} {plugin.name!r} has no setting {name!r}{hint} "
            f"(clbench show {group}={plugin.name}; in a sweep, address one arm: NAME.{name}=...)"
        )
    for f in dataclasses.fields(config):
        if _is_required(f) and f.name not in given:
            raise UsageError(
                f"{group} {plugin.name!r} needs {prefix}{f.name}=... "
                f"(clbench show {group}={plugin.name})"
            )
    with blamed("its settings cannot be made", plugin, config.__name__, cls.__name__):
        return _build(config, given, prefix, words)


def tracker_settings(plugin: Plugin, cls: type[Any], given: Mapping[str, str]) -> Any:
    """A tracker's ``Config`` from its settings as text.

    Raises:
        UsageError: one of them is unknown or not of its type.
    """
    return _fill("tracker", plugin, cls, {f"tracker.{name}": v for name, v in given.items()})


def _is_required(f: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return f.init and f.default is missing and f.default_factory is missing


def _names(cls: type[Any]) -> set[str]:
    return {f.name for f in dataclasses.fields(cls) if f.init}


@cache
def _schema(cls: type[Any]) -> tuple[Any, dict[str, Any]]:
    """The typed node of a settings dataclass and its types; merging into the node copies it."""
    return OmegaConf.structured(cls), get_type_hints(cls)


def _as_given(key: str, words: Sequence[str]) -> str:
    """What a word gave for a key, or for its setting under the name of an arm; empty if none did."""
    name = f".{key.rpartition('.')[2]}"
    for word in words:
        head, _, text = word.partition("=")
        if (head == key or head.endswith(name)) and len(text) <= LONGEST and "[" not in text:
            return text
    return ""


def _build(cls: type[Any], given: Mapping[str, Any], prefix: str, words: Sequence[str] = ()) -> Any:
    """A settings dataclass with typed values, each checked on its own to name it in the error."""
    node, kinds = _schema(cls)  # type: ignore[arg-type]  # a class is hashable
    for name, value in given.items():
        typed = value
        try:
            typed = _value(value)
            if isinstance(typed, str) and kinds[name] in (tuple[str, ...], tuple[float, ...]):
                typed = [typed]  # one word is a list of one
            node = OmegaConf.merge(node, {name: typed})
        except (OmegaConfBaseException, YamlError, ValueError, OverflowError) as error:
            shown = str(value) if len(str(value)) <= LONGEST else f"{str(value)[:LONGEST]}..."
            if "tuple" in str(kinds[name]) and not str(value).startswith(("[", "{")):
                asked = _as_given(f"{prefix}{name}", words) or shown
                raise UsageError(
                    f"{prefix}{name}={shown}: is a list; write {prefix}{name}=[{asked}]"
                ) from error
            reason = (getattr(error, "problem", str(error)).splitlines() or ["is malformed"])[0]
            if len(str(value)) > LONGEST:
                reason = f"is of {len(str(value)):,} characters, and no value of this setting"
            raise UsageError(f"{prefix}{name}={shown}: {reason}") from error
    for name in given:
        value = OmegaConf.select(node, name)
        if isinstance(value, float) and math.isnan(value):
            raise UsageError(f"{prefix}{name}=nan: is not a number")
    built = OmegaConf.to_object(node)
    check(built, prefix.removesuffix("."))
    return built


def _value(value: Any) -> Any:
    """Scalars stay raw text, which the typed node converts; lists and null need YAML.

    A value in quotes is text, whatever it looks like.
    """
    if isinstance(value, str) and "${" in value:
        # It would make the run depend on the environment and carry that into its record.
        raise UsageError(f"{value!r}: interpolation is not supported; write the value out")
    if isinstance(value, Quoted):
        return str(value)
    if isinstance(value, str) and (value[:1] in "[{" or value == "null"):
        return load(value)
    return value
