"""From a configuration to the things that run: pool, stream, strategy, and the folder's name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clbench.configure.config import RunConfig
from clbench.data.augment import check_augment
from clbench.data.latent import SILENT, LatentPool, ProgressSink
from clbench.data.moments import moments
from clbench.data.pool import Pool
from clbench.engine.allocation import explained
from clbench.engine.building import built
from clbench.engine.builds import in_fitting_division
from clbench.engine.calls import build_stream, check_plan, scenario_key
from clbench.engine.version import results_versions
from clbench.errors import UsageError
from clbench.nets.inputs import Moments
from clbench.plugins.blame import blamed, kind
from clbench.plugins.source import identity_sha256, source_sha256
from clbench.results import metrics
from clbench.strategy import Strategy, StreamInfo
from clbench.stream import Stream
from clbench.util.hashing import sha256_of


@dataclass(frozen=True)
class Run:
    """One run, ready to start; nothing is trained or written yet."""

    config: RunConfig
    stream: Stream
    strategy_class: type[Strategy]
    device: torch.device
    sources: dict[str, str]
    """Hashes of source: ``strategy``, ``model``, ``scenario``, and the ``engine`` under them."""
    versions: dict[str, int]
    """Versions of results: of the engine, and of each public base of the strategy."""
    plugin_sha256: dict[str, str]
    """Of each plug-in's own source, as far as it can change a result."""
    moments: Moments | None = None
    """What ``data.normalize`` brings samples to."""

    @property
    def source_sha256(self) -> str:
        """All sources in one hash."""
        return sha256_of(self.sources)

    @cached_property
    def config_sha256(self) -> str:
        """Hash of the settings that make it this experiment."""
        return sha256_of(self.config.exact())

    @cached_property
    def run_sha256(self) -> str:
        """The run's identity: settings, plug-ins, data, versions, device type and board; no seed."""
        protocol = self.config.protocol
        return sha256_of(
            {
                "settings": self.config.identity(),
                "plugins": self.plugin_sha256,
                "versions": self.versions,
                "pool": self.stream.pool.sha256,
                "device": self.device.type,
                "board": [protocol.as_dict(), protocol.tuning] if protocol else None,
            }
        )

    @cached_property
    def _place(self) -> str:
        names = self.config.plugins
        arm = f"{names['strategy'].name.replace(':', '-')}-{self.hash8}"
        return f"{names['scenario'].name}/{arm}/seed{self.config.common.seed}"

    @property
    def hash8(self) -> str:
        """The start of ``run_sha256``; it names the folder."""
        return self.run_sha256[:8]

    def folder(self, out: Path) -> Path:
        """``<out>/<scenario>/<strategy>-<hash8>/seed<k>``."""
        return out / self._place

    @property
    def n_tasks(self) -> int | None:
        """Tasks until the run ends; None: it has no end."""
        ends = [n for n in (self.stream.n_tasks, self.config.common.max_tasks) if n is not None]
        return min(ends) if ends else None

    def with_config(self, config: RunConfig, streams: Streams) -> Run:
        """The same run with settings that differ in the seed only, and so in the stream."""
        stream = streams.of(config, self.stream.pool)
        run = replace(self, config=config, stream=stream)
        # Neither hash has the seed in it.
        vars(run).update(config_sha256=self.config_sha256, run_sha256=self.run_sha256)
        return run

    def info(self) -> StreamInfo:
        """What the strategy is told."""
        pool = self.stream.pool
        return StreamInfo(
            input_shape=pool.input_shape,
            dtype=pool.dtype,
            scale=pool.scale,
            n_classes=self.stream.n_classes,
            n_tasks=self.stream.n_tasks,
            task_ids=self.stream.task_ids,
            augment=self.config.data.augment,
            moments=self.moments,
            unlabelled=withholds_labels(self.stream),
        )

    def strategy(self) -> Strategy:
        """A fresh strategy, its weights drawn from the seed's model axis.

        Raises:
            UsageError: its constructor or the model's raises.
        """
        return built(self.config, self.strategy_class, self.device, self.info())


class Streams:
    """The streams over one pool that were made before: runs of a scenario and a seed share one."""

    most = 10_000  # are remembered, a kilobyte each

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._scenario: tuple[object, tuple[object, ...]] = None, ()
        self._made: dict[tuple[object, ...], Stream] = {}
        self._checked: set[tuple[object, ...]] = set()
        self._moments: dict[tuple[object, ...], Moments | None] = {}

    def moments_of(self, config: RunConfig, pool: Pool) -> Moments | None:
        """What ``data.normalize`` asks for, of the pool that the last stream was made over.

        Raises:
            UsageError: there is an encoder, or the samples have not the channels that it needs.
        """
        asked = config.data.normalize
        if asked != "none" and config.encoder is not None:
            raise UsageError(
                f"data.normalize={asked} is of raw samples, and encoder="
                f"{config.plugins['encoder'].name} takes its own; set data.normalize=none"
            )
        key = (asked, asked != "none" and config.data.holds_series())
        if key not in self._moments:
            self._moments[key] = moments(asked, pool, key[1])
        return self._moments[key]

    def of(self, config: RunConfig, pool: Pool, *, planned: bool = False) -> Stream:
        """The stream of a run over its data, its first task and its last drawn if ``planned``.

        Raises:
            UsageError: the stream cannot be made or used.
        """
        if pool is not self._pool:
            self._pool, self._made, self._checked, self._moments = pool, {}, set(), {}
        scenario, others = config.plugins["scenario"], config.plugins.values()
        if config.scenario is not self._scenario[0]:
            self._scenario = config.scenario, scenario_key(config)
        key = (self._scenario[1], config.common.seed)
        if key not in self._made:
            if len(self._made) == self.most:
                self._made, self._checked = {}, set()
            with explained("the stream", scenario=config.scenario):
                self._made[key] = build_stream(config, pool)
        stream = self._made[key]
        checks = {**({"plan": check_plan} if planned else {}), "classes": check_classes}
        with blamed(
            "makes a stream that cannot be used", scenario, "plan", "stream", others=others
        ):
            for name, check in checks.items():
                if (name, key) not in self._checked:
                    check(stream)
                    self._checked.add((name, key))
        return stream


def load_pool(
    config: RunConfig,
    device: torch.device,
    pools: dict[Any, Pool] | None = None,
    sink: ProgressSink = SILENT,
) -> Pool:
    """A run's data on a device: raw, or their latents where it has an encoder.

    Args:
        config: the run.
        device: where the pool lives and the encoder runs.
        pools: pools loaded before, by (settings, device); extended.
        sink: receives the progress of the encoder, and what is to be said of the data.

    Raises:
        UsageError: the data or the encoder's weights are not there, or do not fit together.
    """
    pools = {} if pools is None else pools
    key = (config.data, device, config.common.evaluate_on)
    if key not in pools:
        pools.clear()  # a sweep goes through its data sets one after another
        name = config.plugins["data"].name
        with (
            blamed("cannot be loaded", config.plugins["data"], "arrays", "pool", "load"),
            explained(f"data={name}", data=config.data),
        ):
            pool = config.data.load(device, sink.watch)
            if not isinstance(pool, Pool):
                raise TypeError(f"pool() must return a clbench Pool, not {kind(pool)}")
        for note in pool.notes:
            sink.note(f"data={name}: {note}")
        pools[key] = pool.tuning() if config.common.evaluate_on == "val" else pool
    if config.encoder is None:
        return pools[key]
    encoded = (*key, config.encoder, config.common.threads)
    if encoded not in pools:
        for other in [k for k in pools if k != key]:
            del pools[other]
        pools[encoded] = LatentPool(
            pools[key],
            config.encoder,
            config.plugins["encoder"],
            data=config.plugins["data"].name,
            threads=config.common.threads,
            sink=sink,
        )
    return pools[encoded]


def prepare(
    config: RunConfig,
    pools: dict[Any, Pool] | None = None,
    sink: ProgressSink = SILENT,
    hashes: dict[tuple[Path, ...], dict[str, str]] | None = None,
    streams: Streams | None = None,
) -> Run:
    """Load the data, make the stream, and refuse what cannot be run.

    Args:
        config: the run.
        pools: pools loaded before, by (settings, device); extended.
        sink: receives the progress of the encoder.
        hashes: hashes of source taken before, by the files; extended.
        streams: streams made before; extended.

    Raises:
        UsageError: the data, the stream or the strategy's needs do not fit.
    """
    metrics.table()  # a package that declares a wrong one is refused now, not when the run ends
    device = choose_device(config.common.device)
    pool = load_pool(config, device, pools, sink)
    check_augment(config.data.augment, pool.input_shape, pool.dtype, pool.scale)
    streams = Streams() if streams is None else streams
    stream = streams.of(config, pool, planned=True)
    strategy_class: type[Strategy] = config.plugins["strategy"].load()
    check_needs(strategy_class, stream, config.plugins["strategy"].name)
    if config.common.realtime is not None and not strategy_class.resumable:
        name = config.plugins["strategy"].name
        raise UsageError(
            f"realtime={config.common.realtime}: strategy {name!r} cannot be rebuilt from its state, "
            "which predicts while it trains; drop realtime="
        )
    hashed = ("strategy", "model", "scenario", "encoder")
    files: dict[str, tuple[Path, ...]] = {
        g: (config.plugins[g].path,) for g in hashed if g in config.plugins
    }
    files["scenario"] += config.scenario.files()
    sources, meanings = _hashes(files, {} if hashes is None else hashes)
    versions = results_versions(strategy_class)
    found = streams.moments_of(config, pool)
    run = Run(config, stream, strategy_class, device, sources, versions, meanings, found)
    settled = in_fitting_division(config, lambda: run.strategy().network_builds)
    return run if settled is config else replace(run, config=settled)


def _hashes(
    files: dict[str, tuple[Path, ...]], known: dict[tuple[Path, ...], dict[str, str]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Exact hashes of source by group, with the engine's, and hashes of what each means."""
    every = tuple(itertools.chain(*files.values()))
    for paths in (*files.values(), every):
        if paths not in known:
            known[paths] = {**source_sha256(*paths), "meaning": identity_sha256(*paths)}
    sources = {group: known[paths]["own"] for group, paths in files.items()}
    sources["engine"] = known[every]["engine"]
    return sources, {group: known[paths]["meaning"] for group, paths in files.items()}


def choose_device(name: str) -> torch.device:
    """``auto`` is a GPU when there is one.

    Raises:
        UsageError: torch does not have the device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[device.type]:
        raise UsageError(f"device={name}: torch {torch.__version__} finds no such device here")
    return device


def check_classes(stream: Stream) -> None:
    """Refuse classes that have nothing to learn from or to be scored on.

    Raises:
        UsageError: naming the first of them.
    """
    for split, purpose in (("train", "learn from"), ("test", "score")):
        there = np.bincount(stream.pool.labels(split), minlength=stream.pool.n_classes)  # type: ignore[arg-type]
        for label in stream.pool_labels:
            if there[label] == 0:
                raise UsageError(
                    f"class {label} has no sample to {purpose}; number the classes 0..n-1 and give "
                    "each a training and a test sample"
                )


def withholds_labels(stream: Stream) -> bool:
    """Whether some training samples of a stream come without their labels."""
    return stream.labelling is not None and stream.labelling.unlabelled > 0


def check_needs(strategy: type[Strategy], stream: Stream, name: str) -> None:
    """Refuse, before training, a stream that lacks what the strategy cannot do without.

    Raises:
        UsageError: naming what is missing.
    """
    needs = strategy.needs
    lacking = {
        "task identities": needs.task_id and not stream.task_ids,
        "task boundaries (drop scenario.chunk)": needs.boundaries and stream.chunk is not None,
        "classes that come in one task only": needs.disjoint_classes and not stream.disjoint,
        "a known number of tasks": needs.n_tasks and stream.n_tasks is None,
        "labels (drop scenario.unlabelled)": needs.labels and withholds_labels(stream),
    }
    for what, missing in lacking.items():
        if missing:
            raise UsageError(f"strategy {name!r} needs {what}; this scenario does not give them")
