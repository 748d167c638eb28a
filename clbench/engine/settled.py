"""What settings that were left open came to: ``resolved`` in a record and in ``config.yaml``.

A setting is open where it is null or ``auto``. Which value it then has is known to the plug-in alone,
so each says it: ``Strategy.resolved()``, ``Model.resolved(input_shape)``,
``Scenario.resolved(stream)``, ``DataSet.resolved(pool)``. Nothing is decided here, and no part of a
run's identity. What ``device``, ``threads`` and ``max_tasks`` came to is in the record's fields
``environment`` and ``stream``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clbench.configure.common import plain
from clbench.configure.config import RunConfig
from clbench.engine.build import Run
from clbench.plugins.blame import blamed, kind
from clbench.strategy import Strategy

OPEN = (None, "auto")
"""Values of a setting that leave the choice to the plug-in."""


def settled(run: Run, strategy: Strategy) -> dict[str, dict[str, Any]]:
    """The values of open settings by group and name; only those of settings that are open.

    Where no model was named, ``model`` has its ``name``, and in ``named_by`` what recommends it.

    Raises:
        UsageError: a plug-in fails to say; it names the file and line.
    """
    config, pool = run.config, run.stream.pool
    says: dict[str, Callable[[], Mapping[str, Any]]] = {
        "scenario": lambda: config.scenario.resolved(run.stream),
        "strategy": strategy.resolved,
        "data": lambda: config.data.resolved(pool),
        "model": lambda: config.model.resolved(pool.input_shape),
    }
    found = {group: _of_group(config, group, say) for group, say in says.items()}
    if config.model_from:
        name = {"name": config.plugins["model"].name, "named_by": config.model_from}
        found["model"] = {**name, **found["model"]}
    return {group: values for group, values in found.items() if values}


def _of_group(
    config: RunConfig, group: str, say: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    with blamed("resolved() fails", config.plugins[group], "resolved"):
        said = say()
        if not isinstance(said, Mapping):
            raise TypeError(f"it must return a mapping of settings, not {kind(said)}")
        settings = getattr(config, group)
        for name in said:
            if not hasattr(settings, name):
                raise TypeError(f"{name!r} is not one of its settings")
        is_open = {name: getattr(settings, name) in OPEN for name in said}
        return {n: plain(v) for n, v in said.items() if is_open[n] and v is not None}


def network_line(config: RunConfig) -> str | None:
    """Which network a run has that names none, and why; None where it names one."""
    if not config.model_from:
        return None
    name = config.plugins["model"].name
    return f"network {name}, the default of {config.model_from} (model=NAME takes another)"
