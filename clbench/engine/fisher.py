"""Estimates the Fisher of a model plug-in on a data set, for release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from clbench import seeding
from clbench.configure.config import RunConfig, resolve, stand_in_words
from clbench.configure.sweep import sweep
from clbench.engine.build import Streams, choose_device, load_pool
from clbench.engine.calls import build_network
from clbench.engine.fisher_partial import KeptPartial
from clbench.errors import UsageError
from clbench.fisher.estimators import LABEL_SOURCE, Estimator, estimate
from clbench.fisher.release import Metadata, Release
from clbench.nets import parameters, weights
from clbench.plugins.registry import GROUPS
from clbench.seeding import Axis
from clbench.util import tensor_files
from clbench.util.environment import code_version
from clbench.util.hashing import file_sha256, sha256_of

SETTINGS = {*GROUPS, "seed", "device", "threads", "evaluate_on"} - {"scenario", "strategy"}


@dataclass(frozen=True)
class Request:
    """What to estimate."""

    config: RunConfig
    estimator: Estimator = "exact"
    samples: int | None = 1000
    """Number of samples, drawn without replacement; None: all."""
    batch_size: int = 128
    """Samples per squared gradient, for ``batched`` alone."""
    exclude: str = parameters.NONE
    weights: Path | None = None
    """Weights of the model; None: fresh weights of the seed."""
    of: Literal["model", "encoder"] = "model"
    """The parameters: those of the model, or of the encoder below it, at the encoder's weights."""


def configuration(words: Sequence[str]) -> RunConfig:
    """The settings of the data, the model and the seed, by the words of ``clbench run``.

    Raises:
        UsageError: a word is wrong, sweeps, or does not apply to an estimate.
    """
    for key in sweep(words)[0]:
        head = key.partition(".")[0]
        if key != "overrides" and head not in SETTINGS:
            raise UsageError(
                f"{key}= does not apply to an estimate; give data=, model=, seed=, device="
            )
    found = resolve([*stand_in_words(), *words])
    if len(found) > 1:
        raise UsageError("one estimate at a time: give no commas or ranges")
    return found[0]


def compute(
    request: Request,
    report: Callable[[int], None] = lambda n: None,
    kept: Path | None = None,
) -> Release:
    """Estimate a Fisher on training samples of the data set.

    With ``evaluate_on=val`` the samples come from the 90 % of train that tuning learns from.

    Args:
        request: what to estimate.
        report: called now and then with the number of samples done.
        kept: where the sums are written once a minute; what is there is gone on with.

    Returns:
        The Fisher, on the CPU, with its metadata.

    Raises:
        UsageError: there are fewer samples, the weights do not fit the model, or as ``estimate``.
    """
    config, common = request.config, request.config.common
    device = choose_device(common.device)
    if request.of == "encoder" and config.encoder is None:
        raise UsageError("the Fisher of an encoder needs encoder=NAME")
    pool = load_pool(config, device)
    size = pool.size("train")
    n = size if request.samples is None else request.samples
    if not 1 <= n <= size:
        raise UsageError(f"--samples {n}: the training split has {size}; give 1 to {size}, or all")
    index = seeding.generator(common.seed, Axis.FISHER).permutation(size)[:n]
    y = torch.as_tensor(pool.labels("train")[index], dtype=torch.int64, device=device)
    with seeding.preserved(common.threads), torch.device(device):
        seeding.seed_all(common.seed, Axis.MODEL)
        model = build_network(
            config.model,
            config.plugins["model"],
            pool.input_shape,
            pool.n_classes,
            pool.scale,
            Streams().moments_of(config, pool),
        )
        if request.weights is not None:
            weights.initialise(model, request.weights, free_output=False)
        model = model.to(device)
        network, x, logits = model, pool, None
        if request.of == "encoder":
            network = config.encoder.build(pool.raw.input_shape, pool.raw.scale).to(device)
            x, logits = pool.raw, nn.Sequential(network, model.eval())
        fisher = estimate(
            network,
            x.gather("train", index),
            y,
            request.estimator,
            logits=logits,
            generator=seeding.torch_generator(common.seed, Axis.FISHER, 1),
            batch_size=request.batch_size,
            exclude=request.exclude,
            report=report,
            partial=None if kept is None else KeptPartial(kept, _said(request, n, pool.sha256)),
        )
    fisher = {name: value.cpu() for name, value in fisher.items()}
    taken_at: dict[str, Any] = dict(network.named_parameters())
    if request.of == "model" and request.weights is not None:
        taken_at = weights.load(request.weights)
    names = config.as_dict()
    parts = ("encoder", "model") if request.of == "encoder" else ("model",)
    batched = request.estimator == "batched"
    split = "train less val" if common.evaluate_on == "val" else "train"
    return Release(
        fisher,
        Metadata(
            architecture=" under ".join(
                weights.describe(names[group]["name"], names[group]) for group in parts
            ),
            weights_sha256=tensor_files.sha256({name: taken_at[name] for name in fisher}),
            estimator=request.estimator,
            loss="cross-entropy of softmax(logits), all classes",
            label_source=LABEL_SOURCE[request.estimator],
            n_samples=n,
            batch_size=request.batch_size if batched else 1,
            data=f"{_data(names)}, {split}",
            data_sha256=pool.sha256,
            seed=common.seed,
            normalisation="mean over batches" if batched else "mean over samples",
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            code_version=_code(),
        ),
    )


def _said(request: Request, n: int, data: str) -> str:
    """What an estimate depends on, as a hash."""
    said = {
        "config": request.config.as_dict(),
        "request": [request.estimator, n, request.batch_size, request.exclude, request.of],
        "weights": None if request.weights is None else file_sha256(request.weights),
        "data": data,
    }
    return sha256_of(said)


def _data(names: dict[str, Any]) -> str:
    """The data set and, if any, the encoder in front of the model."""
    groups = ("data", "encoder") if "encoder" in names else ("data",)
    return " through ".join(weights.describe(names[g]["name"], names[g]) for g in groups)


def _code() -> str:
    found = code_version()
    commit = f" ({found['commit'][:12]})" if found["commit"] else ""
    return f"clbench {found['clbench']}{commit}" + (", changed" if found["dirty"] else "")
