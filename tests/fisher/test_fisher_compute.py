"""Estimating the Fisher of plug-ins: of a model, or of the encoder under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import clbench
from clbench import fisher, seeding
from clbench.engine.build import load_pool
from clbench.engine.fisher import Request, compute, configuration
from clbench.errors import UsageError
from clbench.seeding import Axis


def test_the_fisher_of_an_encoder_is_that_of_its_part_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Against the estimate on one network of encoder and head."""
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path))
    words = ["data=digits", "encoder=random:mlp", "model=linear", "seed=3"]
    request = Request(configuration(words), samples=20, of="encoder")
    found = compute(request)
    assert found.metadata.architecture.startswith("random ")
    assert " under linear" in found.metadata.architecture
    pool = load_pool(request.config, torch.device("cpu"))
    seeding.seed_all(3, Axis.MODEL)
    head = request.config.model.build(pool.input_shape, 10, pool.scale)
    encoder = request.config.encoder.build(pool.raw.input_shape, pool.raw.scale)
    index = seeding.generator(3, Axis.FISHER).permutation(pool.size("train"))[:20]
    whole = fisher.estimate(nn.Sequential(encoder, head), pool.raw.gather("train", index))
    assert found.fisher.keys() == {name for name, _ in encoder.named_parameters()}
    for name, value in found.fisher.items():
        torch.testing.assert_close(value, whole[f"0.{name}"])
    assert any(value.any() for value in found.fisher.values())


def test_without_an_encoder_there_is_no_fisher_of_one():
    with pytest.raises(UsageError, match="needs encoder=NAME"):
        compute(Request(configuration(["data=digits"]), of="encoder"))


def test_the_network_is_the_one_that_a_run_would_train():
    """Its input is normalised as the data say, and only what is tuned has a Fisher."""
    words = ["data=digits", "model=mlp"]
    plain = compute(Request(configuration(words), samples=20))
    normalised = compute(Request(configuration([*words, "data.normalize=data"]), samples=20))
    name = next(iter(plain.fisher))
    assert not torch.equal(plain.fisher[name], normalised.fisher[name])
    run = clbench.prepare(*words, "data.normalize=data", "scenario=scole", "strategy=naive")
    strategy: Any = run.strategy()
    index = seeding.generator(0, Axis.FISHER).permutation(run.stream.pool.size("train"))[:20]
    wanted = fisher.estimate(strategy.model, run.stream.pool.gather("train", index))
    assert wanted.keys() == normalised.fisher.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(normalised.fisher[name], value)
    tuned = compute(Request(configuration([*words, "model.tune=head"]), samples=20))
    assert len(plain.fisher) > len(tuned.fisher) == 2


def test_moments_of_raw_samples_do_not_go_with_an_encoder():
    words = ["data=digits", "encoder=random:mlp", "model=linear", "data.normalize=data"]
    with pytest.raises(UsageError, match="is of raw samples"):
        compute(Request(configuration(words), samples=20))
