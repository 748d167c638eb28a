"""Builds a strategy from settings and what it is told of its stream; no data are needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from clbench import seeding
from clbench.configure.config import RunConfig
from clbench.engine.allocation import explained
from clbench.engine.builds import Builds, placed, refuse_misplaced
from clbench.engine.calls import build_network
from clbench.errors import UsageError
from clbench.needs import StreamInfo
from clbench.nets.inputs import is_normalised
from clbench.nets.precision import check_precision, refuse_unused
from clbench.plugins.blame import blamed
from clbench.seeding import Axis
from clbench.strategy import Strategy


def built(
    config: RunConfig, strategy_class: type[Strategy], device: torch.device, info: StreamInfo
) -> Strategy:
    """A fresh strategy, its weights drawn from the seed's model axis.

    Raises:
        UsageError: its constructor or the model's raises.
    """
    precision = config.common.precision
    check_precision(precision, device)
    # Bound to the model's settings alone: a closure over the run would lead to the test data.
    make: Callable[[], nn.Module] = partial(
        build_network,
        config.model,
        config.plugins["model"],
        info.input_shape,
        info.n_classes,
        info.scale,
        info.moments,
        precision,
    )
    build_model = Builds(make)
    plugin, others = config.plugins["strategy"], config.plugins.values()
    with seeding.preserved(config.common.threads), placed(device):
        seeding.seed_all(config.common.seed, Axis.MODEL)
        with (
            blamed(
                "cannot be built",
                plugin,
                "__init__",
                strategy_class.__name__,
                others=others,
            ),
            explained("the strategy", strategy=config.strategy, model=config.model),
        ):
            built = strategy_class(info, config.strategy, build_model)
            built.to(device)
        build_model.stop()
        built.network_builds = build_model
        built.pretrained = built.pretrained or config.model.starts_pretrained
        if info.moments is not None and not is_normalised(built):
            raise UsageError(
                f"data.normalize={config.data.normalize}: strategy {plugin.name!r} has no "
                "network whose input could be normalised; set data.normalize=none"
            )
        refuse_unused(built, precision, plugin.name)
        refuse_misplaced(config.protocol, built.pretrained, build_model, plugin.name)
        return built
