"""From ``key=value`` words to frozen dataclasses: where OmegaConf begins and ends.

Precedence: dataclass defaults < the scenario's recommendation < file < command line.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clbench.errors import UsageError
from clbench.registry import FOLDERS_WORD, Plugin, did_you_mean, find

GROUPS = ("scenario", "strategy", "data", "model")
REQUIRED = ("scenario", "strategy")


@dataclass(frozen=True)
class Common:
    """The settings that belong to no group."""

    seed: int = 0
    """Root of every random number; the stream depends on it and not on the strategy."""
    device: str = "auto"
    """auto (a GPU when there is one), cpu, cuda, cuda:1, mps."""
    eval_every: str = "1"
    """Evaluate after every so many experiences, or at log-spaced ones (log)."""
    max_tasks: int | None = None
    """Stop after so many tasks; needed where the scenario is endless, may be raised later."""
    evaluate_on: Literal["test", "val"] = "test"
    """val: learn from nine tenths of train, score on the other tenth, never open test."""
    threads: int = 1
    """CPU threads; 0: as many as torch likes. Bit equality is promised for 1."""
    checkpoint_seconds: float = 30.0
    """Write a checkpoint about so often; it never changes a result."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"seed={self.seed} must be at least 0")
        if self.eval_every != "log" and not re.fullmatch(r"[1-9]\d*", self.eval_every):
            raise UsageError(f"eval_every={self.eval_every} must be a positive integer or log")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", self.device):
            raise UsageError(f"device={self.device}: choose from auto, cpu, cuda, cuda:N, mps")
        if self.max_tasks is not None and self.max_tasks < 1:
            raise UsageError(f"max_tasks={self.max_tasks} must be at least 1")
        if self.threads < 0:
            raise UsageError(f"threads={self.threads} must be at least 0")
        if not self.checkpoint_seconds >= 0:
            raise UsageError(f"checkpoint_seconds={self.checkpoint_seconds} must be at least 0")


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
    board: dict[str, str] | None = None
    """``{name, protocol, division}`` where the run is one of a leaderboard."""
    tuning: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {"ruleset": "fixed", "trials": 0, "grid_sha256": None}
    )
    """How the strategy's settings were chosen."""

    def as_dict(self) -> dict[str, Any]:
        """The resolved settings as plain data; of a path only the file's name."""
        groups = {
            group: {"name": self.plugins[group].name, **_plain(getattr(self, group))}
            for group in GROUPS
        }
        return {**groups, **_plain(self.common)}

    def identity(self) -> dict[str, Any]:
        """The part of the settings that makes it this experiment: no seed, no path, no device.

        How often to checkpoint and how far to extend an endless stream change no result either.
        """
        settings = self.as_dict()
        for name in ("seed", "device", "max_tasks", "checkpoint_seconds"):
            del settings[name]
        for group in GROUPS:
            for f in dataclasses.fields(getattr(self, group)):
                if isinstance(getattr(getattr(self, group), f.name), Path):
                    del settings[group][f.name]
        return settings


def _plain(settings: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return value.name
        return list(value) if isinstance(value, tuple) else value

    return {f.name: plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


def split_top(text: str) -> list[str]:
    """Split at commas outside brackets and quotes: ``a,[1,2]`` to ``a`` and ``[1,2]``.

    An inclusive range of integers, ``0..4``, counts as its members.
    """
    parts, depth, quote, start = [], 0, "", 0
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "[{(":
            depth += 1
        elif char in "]})":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    spread: list[str] = []
    for part in parts:
        bounds = re.fullmatch(r"(\d+)\.\.(\d+)", part)
        if bounds:
            low, high = int(bounds[1]), int(bounds[2])
            if high < low or high - low > 100_000:
                raise UsageError(f"range {part} is empty or too long")
            spread += [str(i) for i in range(low, high + 1)]
        else:
            spread.append(part)
    return spread


def resolve(overrides: Sequence[str], file: Path | None = None) -> list[RunConfig]:
    """Every run that the words ask for: a cartesian product, the last key varying fastest.

    Raises:
        UsageError: any word is wrong; nothing has been run.
    """
    return [resolve_point(point) for point in sweep(overrides, file)]


def sweep(overrides: Sequence[str], file: Path | None = None) -> list[dict[str, Any]]:
    """The words (after those of a file) as one ``{key: value}`` per run."""
    pairs: dict[str, Any] = _read_file(file) if file else {}
    choices: dict[str, list[Any]] = {key: [value] for key, value in pairs.items()}
    given: set[str] = set()
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UsageError(f"expected key=value, got {word!r}")
        if key in given:
            raise UsageError(f"{key} is given twice")
        given.add(key)
        if key in GROUPS and [text] != choices.get(key, [text]):
            # Another option of a group: the file's settings of the first do not apply to it.
            choices = {
                k: v for k, v in choices.items() if k in given or not k.startswith(key + ".")
            }
        choices.pop(key, None)
        choices[key] = split_top(text)
        if any(part == "" for part in choices[key]):
            raise UsageError(f"{word}: empty value; write null for none")
    points = [dict(zip(choices, p, strict=True)) for p in itertools.product(*choices.values())]
    addressed = [_address_arms(point, choices) for point in points]
    # naive,ewc x ewc.lam=1,3 names naive twice; two processes would meet in one folder.
    return list({repr(point): point for point in addressed}.values())


def _address_arms(point: dict[str, Any], choices: dict[str, list[Any]]) -> dict[str, Any]:
    """Turn ``ewc.lam=3`` into ``strategy.lam=3`` where the run's strategy is ewc, else drop it."""
    arms = {_stem(str(v)): group for group in GROUPS for v in choices.get(group, [])}
    chosen = {_stem(str(point[group])) for group in GROUPS if group in point}
    out: dict[str, Any] = {}
    for key, value in point.items():
        head, dot, rest = key.partition(".")
        if dot and head not in GROUPS and head in arms:
            if head in chosen:
                out[f"{arms[head]}.{rest}"] = value
        else:
            out[key] = value
    return out


def _stem(value: str) -> str:
    return Path(value).stem if value.endswith(".py") else value


def _read_file(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"--config {path}: must hold settings, such as 'scenario: scole'")
    pairs: dict[str, Any] = {}
    for key, value in loaded.items():
        if key in GROUPS and isinstance(value, dict):
            settings = dict(value)
            if "name" in settings:
                pairs[key] = settings.pop("name")
            pairs.update({f"{key}.{name}": v for name, v in settings.items()})
        else:
            pairs[str(key)] = value
    return pairs


def resolve_point(point: Mapping[str, Any]) -> RunConfig:
    """One run's settings, typed and checked, from its ``{key: value}``.

    Raises:
        UsageError: any of them is wrong.
    """
    for group in REQUIRED:
        if group not in point:
            raise UsageError(f"{group}= is required (clbench list {FOLDERS_WORD[group]})")
    _refuse_unknown_heads(point)
    chosen = {group: find(group, str(point[group])) for group in REQUIRED}
    chosen["data"] = find("data", str(point.get("data", "digits")))
    classes = {group: plugin.load() for group, plugin in chosen.items()}
    recommended = {
        key: value for key, value in classes["scenario"].recommended.items() if key not in point
    }
    point = {**recommended, **point}
    built = {group: _fill(group, chosen[group], classes[group], point) for group in chosen}
    model = point["model"] if "model" in point else built["data"].default_model()
    chosen["model"] = find("model", str(model))
    built["model"] = _fill("model", chosen["model"], chosen["model"].load(), point)
    common = _build(Common, {k: v for k, v in point.items() if k in _names(Common)}, "")
    return RunConfig(**built, common=common, plugins=chosen)


def _refuse_unknown_heads(point: Mapping[str, Any]) -> None:
    known = {*GROUPS, *_names(Common)}
    for key in point:
        head, dot, _ = key.partition(".")
        if head not in known or (dot and head not in GROUPS):
            hint = did_you_mean(head, known)
            raise UsageError(f"unknown setting {key!r}{hint} (clbench show)")


def _fill(group: str, plugin: Plugin, cls: type[Any], point: Mapping[str, Any]) -> Any:
    """A plug-in's settings from the ``group.*`` keys of a run."""
    config = cls.Config if group == "strategy" else cls
    prefix = group + "."
    given = {key.removeprefix(prefix): v for key, v in point.items() if key.startswith(prefix)}
    unknown = set(given) - _names(config)
    for name in sorted(unknown):
        hint = did_you_mean(name, _names(config))
        raise UsageError(
            f"{group} {plugin.name!r} has no setting {name!r}{hint} "
            f"(clbench show {group}={plugin.name}; in a sweep, address one arm: NAME.{name}=...)"
        )
    return _build(config, given, prefix)


def _names(cls: type[Any]) -> set[str]:
    return {f.name for f in dataclasses.fields(cls) if f.init}


def _build(cls: type[Any], given: Mapping[str, Any], prefix: str) -> Any:
    """A settings dataclass with typed values, each checked on its own to name it in the error."""
    node = OmegaConf.structured(cls)
    for name, value in given.items():
        try:
            node = OmegaConf.merge(node, {name: _value(value)})
        except (OmegaConfBaseException, yaml.YAMLError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"{prefix}{name}={value}: {reason}") from error
    return OmegaConf.to_object(node)


def _value(value: Any) -> Any:
    """Scalars stay raw text, which the typed node converts; lists and null need YAML.

    (Left to YAML 1.1, ``no`` would be false, ``010`` eight and ``12:30`` seven hundred and fifty.)
    """
    if isinstance(value, str) and "${" in value:
        # It would make the run depend on the environment and carry that into its record.
        raise UsageError(f"{value!r}: interpolation is not supported; write the value out")
    if isinstance(value, str) and (value[:1] in "[{" or value == "null"):
        return yaml.safe_load(value)
    return value
