"""What stands after the colon of ``group=plugin:word``: a setting that the plug-in declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clbench.errors import UsageError
from clbench.plugins.registry import Plugin


def spelt_out(
    group: str, word: str, plugin: Plugin, cls: type[Any], point: Mapping[str, Any]
) -> dict[str, Any]:
    """A run's settings with the word after the colon as ``group.setting``.

    Args:
        group: of the plug-in.
        word: what was given, such as ``name:word``.
        plugin: the plug-in.
        cls: its class; ``argument`` names the setting.
        point: the run's settings by name.

    Raises:
        UsageError: the plug-in takes no such word, or the setting says something else.
    """
    if plugin.argument is None or plugin.bridge is not None:
        return dict(point)
    key = f"{group}.{plugin.argument_of(cls)}"
    if str(point.get(key, plugin.argument)) != plugin.argument:
        raise UsageError(f"{group}={word} and {key}={point[key]}: give it once")
    return {**point, key: plugin.argument}
