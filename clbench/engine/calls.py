"""Calls of plug-ins before anything is trained: an error names the plug-in's file and line."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from clbench import seeding
from clbench.configure.config import RunConfig
from clbench.data.pool import Pool
from clbench.engine.allocation import explained
from clbench.errors import UsageError
from clbench.nets.inputs import Moments, normalise
from clbench.nets.precision import cast
from clbench.plugins.blame import blamed, is_builtin, kind
from clbench.plugins.registry import Plugin
from clbench.seeding import Axis
from clbench.stream import Stream, Task

if TYPE_CHECKING:
    from clbench.engine.build import Run


def build_stream(config: RunConfig, pool: Pool) -> Stream:
    """The stream of a run's scenario, for its seed.

    Raises:
        UsageError: the scenario fails, or returns something else; it names the file and line.
    """
    plugin = config.plugins["scenario"]
    with blamed("stream() fails", plugin, "stream", others=config.plugins.values()):
        stream = config.scenario.stream(pool, config.common.seed)
        if not isinstance(stream, Stream):
            raise TypeError(f"it must return a clbench.Stream, not {kind(stream)}")
        made: Stream = config.scenario.with_options(stream)
    return made


def check_plan(stream: Stream) -> None:
    """Refuse a stream whose tasks cannot be drawn; touches no sample.

    Raises:
        TypeError: the plan is no function, or gives something else than tasks. Whatever a scenario's
            plan raises passes.
    """
    if not callable(stream.plan):
        raise TypeError(
            f"Stream.plan must be a function of the task's number, not {kind(stream.plan)}"
        )
    if stream.n_tasks is not None and (not isinstance(stream.n_tasks, int) or stream.n_tasks < 1):
        raise TypeError(
            f"Stream.n_tasks must be a number from 1 on or None, not {stream.n_tasks!r}"
        )
    known = range(stream.pool.n_classes)
    for label in stream.labels:
        if label not in known:
            raise TypeError(
                f"Stream.labels has {label!r}; the data have the classes 0 to {known[-1]}"
            )
    last = 0 if stream.n_tasks is None else stream.n_tasks - 1
    for number in sorted({0, last}):
        task = stream.plan(number)
        if not isinstance(task, Task):
            raise TypeError(f"plan({number}) must return a clbench.Task, not {kind(task)}")
    stream.draw(0)


def build_network(
    model: Any,
    plugin: Plugin,
    input_shape: tuple[int, ...],
    n_classes: int,
    scale: float,
    moments: Moments | None = None,
    precision: str = "float32",
) -> nn.Module:
    """Build a fresh network with the settings of a model plug-in; its input normalised by ``moments``.

    It computes in ``precision``.

    Raises:
        UsageError: the model does not take such samples, fails, or returns something else than a
            network; it names the model's file and line. Or it cannot normalise its input.
    """
    with blamed("cannot be built", plugin, "build"), explained("the network", model=model):
        network = model.build_tuned(plugin.name, input_shape, n_classes, scale)
        if not isinstance(network, nn.Module):
            raise TypeError(f"build() must return a torch.nn.Module, not {kind(network)}")
    if moments is not None and not normalise(network, moments, input_shape):
        raise UsageError(
            f"data.normalize needs a network that starts with clbench.model.ToFloat, and "
            f"model={plugin.name} does not; set data.normalize=none"
        )
    return cast(network, precision)


def check_network_output(run: Run) -> None:
    """Refuse a model that does not score two samples, where its network is not clbench's own.

    Raises:
        UsageError: it names the model's file and line.
    """
    plugin, info = run.config.plugins["model"], run.info()
    if is_builtin(plugin) and not run.config.model.argument:
        return
    what = f"does not score samples of shape {info.input_shape}"
    with (
        seeding.preserved(run.config.common.threads),
        torch.device(run.device),
        torch.no_grad(),
        blamed(what, plugin, "forward", "build"),
    ):
        seeding.seed_all(run.config.common.seed, Axis.MODEL)
        network = build_network(
            run.config.model, plugin, info.input_shape, info.n_classes, info.scale
        ).to(run.device)
        for mode in (True, False):
            scores = network.train(mode)(torch.zeros(2, *info.input_shape, dtype=info.dtype))
            wanted = (2, info.n_classes)
            if not isinstance(scores, torch.Tensor):
                raise TypeError(f"it must return scores of shape {wanted}, not {kind(scores)}")
            if scores.shape != wanted or not scores.is_floating_point():
                raise TypeError(
                    f"it returns {scores.dtype} of shape {tuple(scores.shape)} for 2 samples of "
                    f"{info.n_classes} classes; return floats of shape {wanted}"
                )


def scenario_key(config: RunConfig) -> tuple[object, ...]:
    """What tells the scenarios of two runs apart: the file and every setting."""
    scenario = config.scenario
    values = (repr(getattr(scenario, f.name)) for f in fields(scenario))
    return (config.plugins["scenario"].path, type(scenario), *values)
