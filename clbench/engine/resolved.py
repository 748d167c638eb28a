"""Says which network, data and strategies some words ask for: the line above a table in the docs.

A page has the command of each of its tables in a comment, and below it what the command resolves to::

    <!-- command: clbench run scenario=scole strategy=naive,ewc -->
    Resolved: network `mlp` hidden=[64,64] head=linear, 8,970 parameters; data `digits`, ...

``clbench run WORDS --md`` prints both and the table; a test compares the pages with what their words
resolve to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from clbench import seeding
from clbench.configure.config import RunConfig, resolve_point
from clbench.configure.sweep import sweep
from clbench.data.pool import Pool
from clbench.engine.build import prepare
from clbench.engine.calls import build_network
from clbench.nets.weights import describe

MARK = "Resolved: "


def head(command: str, words: Sequence[str]) -> list[str]:
    """The lines above a table: the command in a comment, and what its words resolve to."""
    return [f"<!-- command: {command} -->", *resolved(words), ""]


def resolved(words: Sequence[str]) -> list[str]:
    """A line for each network and data set that the words ask for, with its strategies.

    Nothing is trained. Data are loaded where there is no encoder; with one, whose latents would have
    to be made, the number of parameters is left out.

    Raises:
        UsageError: the words are wrong, or the data are missing.
    """
    found: dict[str, list[str]] = {}
    pools: dict[Any, Pool] = {}
    known: dict[str, str] = {}
    for point in sweep(words):
        config = resolve_point({k: v for k, v in point.items() if k != "seed"})
        key = repr([(g, getattr(config, g)) for g in config.groups if g != "strategy"])
        if key not in known:
            known[key] = _place(config, pools)
        names = found.setdefault(known[key], [])
        name = f"`{config.plugins['strategy'].name}`"
        if name not in names:
            names.append(name)
    return [
        f"{MARK}{place}; {'strategy' if len(names) == 1 else 'strategies'} {', '.join(names)}."
        for place, names in found.items()
    ]


def _place(config: RunConfig, pools: dict[Any, Pool]) -> str:
    names = {group: plugin.name for group, plugin in config.plugins.items()}
    name, *settings = describe(names["model"], config.as_dict()["model"]).replace(", ", ",").split()
    network = " ".join([f"network `{name}`", *settings])
    data = f"data `{names['data']}`"
    if config.encoder is not None:
        return f"{network}; {data}, latents of `{names['encoder']}`; scenario `{names['scenario']}`"
    info = prepare(config, pools).info()
    with seeding.preserved(0), torch.device("meta"):
        built = build_network(
            config.model, config.plugins["model"], info.input_shape, info.n_classes, info.scale
        )
    n = sum(p.numel() for p in built.parameters())
    return (
        f"{network}, {n:,} parameters; {data}, samples of shape {info.input_shape}, "
        f"{info.n_classes} classes; scenario `{names['scenario']}`"
    )
