"""Settings that came into a plug-in after a board was frozen: on the board they keep their default."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from clbench.registry import plugins


def changed(fixed: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """What a configuration sets, in the groups that a board fixes, beside what the board lists.

    A setting that the board does not list is one that its plug-in did not have when the board was
    frozen; with its default it does what the plug-in did then.

    Args:
        fixed: what the board fixes, by ``group.setting``.
        config: the settings of a record; of anybody.

    Returns:
        ``group.setting`` of those that are not at their default.
    """
    found = []
    for group in sorted({key.partition(".")[0] for key in fixed} - {"strategy"}):
        settings = config.get(group)
        if isinstance(settings, Mapping):
            known = {k.partition(".")[2] for k in fixed if k.startswith(f"{group}.")} | {"name"}
            defaults = _defaults(group, str(fixed.get(group)))
            found += [
                f"{group}.{name}"
                for name, value in sorted(settings.items())
                if name not in known and not (name in defaults and value == defaults[name])
            ]
    return found


def _defaults(group: str, name: str) -> dict[str, Any]:
    """Of an installed plug-in; of any other, nothing is known."""
    plugin = plugins(group).get(name)
    if plugin is None:
        return {}
    of = dataclasses.fields(plugin.load())
    defaults = {f.name: f.default for f in of if f.default is not dataclasses.MISSING}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in defaults.items()}
