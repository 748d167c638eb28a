"""From the points of a sweep to runs, with each piece of work done once for all that share it.

Settings are resolved, sources hashed and a strategy is constructed on trial once for all seeds; data
are loaded once for all runs that learn from them; only the stream is made for every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clbench.configure.config import Known, RunConfig, resolve_point
from clbench.data.latent import SILENT, ProgressSink
from clbench.data.pool import Pool
from clbench.engine.build import Run, Streams, prepare
from clbench.engine.calls import check_network_output, scenario_key
from clbench.engine.diagnostics import check_network
from clbench.engine.idle import foreseen
from clbench.errors import UsageError
from clbench.sweeps.plan import Line, moved
from clbench.trackers.progress import say
from clbench.util.environment import code_version


@dataclass
class Planner:
    """Makes the runs of one sweep. What it remembers lasts as long as the sweep."""

    sink: ProgressSink = SILENT
    pools: dict[Any, Pool] = field(default_factory=dict)
    hashes: dict[tuple[Path, ...], dict[str, str]] = field(default_factory=dict)
    """Hashes of source, by the files."""
    known: Known = field(default_factory=Known)
    """Plug-ins and settings."""
    streams: Streams = field(default_factory=Streams)
    tell: Callable[[str], None] | None = say
    """Prints a line for the user."""
    first: dict[str, Run] = field(default_factory=dict)
    """The first run of each choice of settings without the seed, over the present pool."""
    delivered: set[tuple[object, ...]] = field(default_factory=set)
    """The scenarios and pools of which an experience was gathered."""

    def planned(self, point: Mapping[str, Any], line: Line | None) -> Run:
        """The run of one point, which may be of a line of a plan.

        It says so where the run is no longer the one that was planned.

        Raises:
            UsageError: it cannot be done as asked; it names the line.
        """
        if line is None:
            return self.run(point)
        try:
            run = self.run(point)
        except UsageError as error:
            raise UsageError(f"--plan {line.where}: {error}") from error
        warning = moved(line, run)
        if warning is not None:
            say(f"warning: {warning}")
        return run

    def run(self, point: Mapping[str, Any]) -> Run:
        """The run of one point: checked, and ready to start.

        Raises:
            UsageError: it cannot be done as asked.
        """
        given = {key: value for key, value in point.items() if key not in ("seed", "overrides")}
        key = repr(sorted(given.items()))
        before = self.first.get(key)
        seed = str(point.get("seed", "0"))
        if before is None or not (seed.isascii() and seed.isdigit() and len(seed) < 19):
            run = self._prepared(point)
            check_network_output(run)
            strategy = run.strategy()
            check_network(run.config.common.diagnostics, strategy)
            idle = foreseen(run, strategy)
            if idle is not None and self.tell is not None:
                self.tell(f"warning: {idle}")
            if not self.first and run.config.protocol is not None:
                self._warn_of_changes()
            if any(r.stream.pool is not run.stream.pool for r in [*self.first.values()][:1]):
                self.first.clear()  # they would keep another pool in memory
            return self.first.setdefault(key, run) if before is None else run
        return before.with_config(_with_seed(before.config, int(seed), point), self.streams)

    def _prepared(self, point: Mapping[str, Any]) -> Run:
        config = resolve_point(point, self.known)
        return prepare(config, self.pools, self.sink, self.hashes, self.streams)

    def _warn_of_changes(self) -> None:
        if self.tell is not None and code_version()["dirty"]:
            self.tell(
                "warning: clbench was changed since its last commit, so these runs cannot be entered "
                "on the board; commit or undo first"
            )

    def deliver(self, run: Run) -> None:
        """Gather a run's first experience, once for all runs of a scenario and a pool.

        Raises:
            UsageError: it cannot be gathered.
        """
        key = (*scenario_key(run.config), run.stream.pool.sha256)
        if key not in self.delivered:
            run.stream.experience(0)
            self.delivered.add(key)


def _with_seed(config: RunConfig, seed: int, point: Mapping[str, Any]) -> RunConfig:
    common = replace(config.common, seed=seed)
    found = replace(config, common=common, overrides=tuple(point.get("overrides", ())))
    if found.protocol is not None:
        found.protocol.check(found.as_dict())
    return found
