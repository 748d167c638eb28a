"""Arms: records that differ only in their seed, under names that tell them apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clbench.configure import common
from clbench.results.repeats import arm_of, marks, short, without_repeats

if TYPE_CHECKING:
    from clbench.results.record import Record


@dataclass(frozen=True)
class Arm:
    """Records that differ only in their seed."""

    name: str
    """The strategy, with whatever differs among the arms that are shown."""
    records: tuple[Record, ...]
    """By seed, ascending; at least one."""

    @property
    def scenario(self) -> str:
        """The scenario of all of them."""
        name: str = self.records[0].config["scenario"]["name"]
        return name


def by_arm(records: Iterable[Record]) -> list[Arm]:
    """The arms in order of first appearance; a run that comes several times counts once.

    Names are unique within a scenario: they have the settings in which the arms differ, and, where
    all settings are the same, whatever else makes them arms of their own (code, data, device, ...).
    """
    arms: dict[tuple[str, ...], list[Record]] = {}
    for record in without_repeats(records):
        arms.setdefault(arm_of(record), []).append(record)
    firsts = [arm[0] for arm in arms.values()]
    return [
        Arm(name, tuple(sorted(arm, key=lambda r: r.seed)))
        for name, arm in zip(_names(firsts), arms.values(), strict=True)
    ]


def labels(arms: Sequence[Arm]) -> list[str]:
    """The arms' names where no column has the scenario: it stands first where there are several."""
    several = len({arm.scenario for arm in arms}) > 1
    return [f"{arm.scenario} {arm.name}" if several else arm.name for arm in arms]


def _names(records: Sequence[Record]) -> list[str]:
    settings = [settings_of(record.config) for record in records]
    named = [(mine["scenario.name"], _name(mine, settings)) for mine in settings]
    found = [marks(record) for record in records]
    names = []
    for key, mine in zip(named, found, strict=True):
        alike = [other for other, its in zip(found, named, strict=True) if its == key]
        differing = [k for k in mine if any(other[k] != mine[k] for other in alike)]
        names.append(" ".join([key[1], *(f"{k}={short(mine[k])}" for k in differing)]))
    return names


def settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """``{"group.setting" or "setting": value}`` of all that may tell arms apart."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": setting for name, setting in value.items()}
        else:
            flat[key] = value
    for name in flat.keys() & common.left_out(flat):
        del flat[name]
    return flat


def _name(mine: dict[str, Any], everyone: Sequence[dict[str, Any]]) -> str:
    """The strategy, with the settings in which it differs from others of the same scenario.

    Settings of a plug-in are compared where the plug-in is the same; an option by its name.
    """
    rivals = [other for other in everyone if other["scenario.name"] == mine["scenario.name"]]
    words = [str(mine["strategy.name"])]
    for key, value in mine.items():
        name = f"{key.partition('.')[0]}.name" if "." in key else ""
        peers = rivals
        if name not in ("", key):
            peers = [other for other in rivals if other.get(name) == mine[name]]
        if key != "strategy.name" and any(other.get(key, ...) != value for other in peers):
            words.append(f"{key.removeprefix('strategy.').removesuffix('.name')}={short(value)}")
    return " ".join(words)
