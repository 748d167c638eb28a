"""``data.normalize``: means and deviations by numpy, and the first layer that uses them."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from small import CPU, arrays, go, pool, run, write_npz
from torch import nn

import clbench
from clbench.data import moments as module
from clbench.data.moments import IMAGENET, moments
from clbench.data.pool import TensorPool
from clbench.errors import UsageError
from clbench.model import ToFloat
from clbench.nets.inputs import Moments, normalise

WORDS = ("scenario=scole", "scenario.n_tasks=3")
IMAGES = {"n_classes": 4, "n_train": 6, "n_test": 2}


@pytest.mark.parametrize(
    ("shape", "is_series", "axes"),
    [
        ((6,), False, (0,)),
        ((6,), True, (0, 1)),
        ((3, 10), True, (0, 2)),
        ((4, 5), False, (0, 1, 2)),
        ((3, 4, 5), False, (0, 2, 3)),
    ],
)
@pytest.mark.parametrize("at_once", [1, 100, 1 << 22])
def test_moments_are_those_of_numpy(
    shape: tuple[int, ...],
    is_series: bool,
    axes: tuple[int, ...],
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    data = arrays(shape=shape, n_train=9)
    found = moments("data", TensorPool(data, CPU), is_series)
    unit = data.train_x.astype(np.float64) * data.scale
    assert found is not None
    np.testing.assert_allclose(found.mean, np.atleast_1d(unit.mean(axis=axes)), rtol=1e-9)
    np.testing.assert_allclose(found.std, np.atleast_1d(unit.std(axis=axes)), rtol=1e-6)


def test_what_is_constant_is_divided_by_one():
    data = arrays(shape=(4,))
    fixed = data.train_x.copy()
    fixed[:, 2] = 7
    found = moments("data", TensorPool(dataclasses.replace(data, train_x=fixed), CPU))
    assert found is not None
    assert (found.mean[2], found.std[2]) == (7, 1)


def test_imagenet():
    assert moments("imagenet", pool(shape=(3, 8, 8), **IMAGES)) is IMAGENET
    assert moments("none", pool(shape=(3, 8, 8), **IMAGES)) is None
    for shape in ((8, 8), (1, 8, 8), (6,)):
        with pytest.raises(UsageError, match="needs colour images"):
            moments("imagenet", pool(shape=shape, **IMAGES))


@pytest.mark.parametrize("kind", ["data", "imagenet"])
@pytest.mark.parametrize("model", ["mlp", "slim_resnet18", "resnet32"])
def test_the_network_normalises_and_its_state_is_as_before(kind: str, model: str):
    on = pool(shape=(3, 8, 8), **IMAGES)
    plain, r = (
        run(*WORDS, "strategy=naive", f"model={model}", *more, on=on)
        for more in ((), (f"data.normalize={kind}",))
    )
    before, strategy = plain.strategy(), r.strategy()
    assert [*before.state_dict()] == [*strategy.state_dict()]
    x = on.gather("train", np.arange(5))
    first = strategy.model[0]  # type: ignore[index, union-attr]
    found = moments(kind, on)  # type: ignore[arg-type]
    assert found is not None
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (found.mean, found.std))
    torch.testing.assert_close(first(x), (x.float() / 255 - mean) / std)
    assert first.double()(x).dtype == torch.float64
    again = copy.deepcopy(first)
    assert torch.equal(again(x), first(x))
    fresh = strategy.build_model()  # as fresh_weights and teachers do
    torch.testing.assert_close(fresh[0](x), first.float()(x))  # type: ignore[index, operator]
    assert r.config_sha256 != plain.config_sha256
    assert r.run_sha256 != plain.run_sha256
    _, outcome = go(r)
    assert outcome.error is None


def test_all_training_samples_come_out_standard():
    on = pool(shape=(3, 8, 8), **IMAGES)
    r = run(*WORDS, "strategy=naive", "data.normalize=data", on=on)
    x = on.gather("train", np.arange(on.size("train")))
    out = r.strategy().model[0](x)  # type: ignore[index, union-attr]
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_the_default_renames_no_run_and_adds_no_bits():
    on = pool(shape=(3, 8, 8), **IMAGES)
    r = run(*WORDS, "strategy=naive", "data.normalize=none", on=on)
    assert "normalize" not in r.config.identity()["data"]
    layer = r.strategy().model[0]  # type: ignore[index, union-attr]
    assert isinstance(layer, ToFloat)
    assert layer.mean is None
    assert [*layer.state_dict()] == []


def test_what_cannot_be_normalised_is_refused(tmp_path):
    images = pool(shape=(3, 8, 8), **IMAGES)
    with pytest.raises(UsageError, match="strategy 'nmc' has no network"):
        run(*WORDS, "strategy=nmc", "data.normalize=data", on=images).strategy()
    with pytest.raises(UsageError, match="encoder=identity takes its own"):
        run(*WORDS, "strategy=naive", "encoder=identity", "data.normalize=data", on=images)
    own = tmp_path / "bare.py"
    own.write_text(
        "from dataclasses import dataclass\nfrom torch import nn\nfrom clbench import Model\n\n"
        "class Bare(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
        "        self.head = nn.LazyLinear(n)\n    def forward(self, x):\n"
        "        return self.head(x.float().flatten(1))\n\n@dataclass(frozen=True)\n"
        "class Mine(Model):\n    def build(self, input_shape, n_classes, scale):\n"
        "        return Bare(n_classes)\n"
    )
    with pytest.raises(UsageError, match=r"starts with clbench\.model\.ToFloat") as error:
        run(*WORDS, "strategy=naive", f"model={own}", "data.normalize=data", on=images).strategy()
    assert "\n" not in str(error.value)
    assert not normalise(nn.Linear(2, 2), Moments((0.0,), (1.0,)), (2,))


def test_streams_of_one_pool_share_the_moments(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Seeds of a sweep do not go through the data again."""
    calls: list[str] = []
    count = module.moments

    def counted(kind, *rest):
        calls.append(kind)
        return count(kind, *rest)

    monkeypatch.setattr("clbench.engine.build.moments", counted)
    path = write_npz(tmp_path / "d.npz", n_train=4, n_test=2)
    words = (*WORDS, "strategy=naive", "data=npz", f"data.path={path}", "data.normalize=data")
    records = clbench.run(*words, "seed=0..2", out=tmp_path, quiet=True, tracker=None)
    assert [record.status for record in records] == ["completed"] * 3
    assert calls == ["data"]
    assert (
        json.loads((next(tmp_path.rglob("record.json"))).read_text())["config"]["data"]["normalize"]
        == "data"
    )


@pytest.mark.slow
def test_isolated_processes_normalise_too():
    from clbench.engine.harness import run_stream, start_ledger
    from clbench.leaderboard.reproduce.isolate import isolated

    on = pool(shape=(3, 8, 8), **IMAGES)
    r = run(*WORDS, "strategy=naive", "strategy.first.epochs=2", "data.normalize=data", on=on)
    _, here = go(r)
    with isolated(r) as strategy:
        there = run_stream(r, strategy, start_ledger(r))
    assert there.error is None
    assert there.ledger.predictions_sha256 == here.ledger.predictions_sha256
