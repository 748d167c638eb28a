"""Settings that came after a board was frozen: on the board they keep their default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clbench.configure import common
from clbench.plugins.registry import plugins


def defaults_of(group: str, name: str) -> Mapping[str, Any]:
    """The default settings of an installed plug-in; of any other, nothing is known."""
    plugin = plugins(group).get(name)
    if plugin is None:
        return {}
    return common.plain_defaults(plugin.load())


def changed(
    fixed: Mapping[str, Any],
    config: Mapping[str, Any],
    defaults_of: Callable[[str, str], Mapping[str, Any]] = defaults_of,
) -> list[str]:
    """What a configuration sets beside what the board lists, of what is the board's to fix.

    A setting that the board does not list is one that was not there when the board was frozen; with
    its default, all is done as it was then.

    Args:
        fixed: what the board fixes, by ``group.setting``.
        config: the settings of a record; of anybody.
        defaults_of: the defaults of a plug-in, by group and name; a cached one saves time.

    Returns:
        ``group.setting``, or ``setting`` of no group, of those that are not at their default.
    """
    flat = {k: v for k, v in config.items() if not isinstance(v, Mapping)}
    here = flat.keys() - fixed.keys() - common.free_on_boards()
    usual = common.plain_defaults(common.Common)
    found = sorted(k for k in here if not (k in usual and flat[k] == usual[k]))
    for group in sorted({key.partition(".")[0] for key in fixed} - {"strategy"}):
        settings = config.get(group)
        if isinstance(settings, Mapping):
            known = {k.partition(".")[2] for k in fixed if k.startswith(f"{group}.")} | {"name"}
            defaults = defaults_of(group, str(fixed.get(group)))
            found += [
                f"{group}.{name}"
                for name, value in sorted(settings.items())
                if name not in known and not (name in defaults and value == defaults[name])
            ]
    return found
