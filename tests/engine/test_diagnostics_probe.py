"""The probe: what it is drawn from, and that measuring changes nothing."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from small import go, pool, run
from test_diagnostics import ALL, IMAGES, probe_of, scaled
from test_harness import SCOLE, books, frozen, resumed, same_state
from torch import Tensor, nn

from clbench.configure.common import DIAGNOSTICS
from clbench.engine import diagnostics
from clbench.engine.diagnostics import (
    Probe,
    observe,
    probe_inputs,
)
from clbench.strategy import GradientStrategy

# --- the probe -----------------------------------------------------------------------------------

STREAMS = [
    SCOLE,
    ("scenario=task_incremental", "scenario.n_tasks=2"),
    ("scenario=domain_incremental", "scenario.n_tasks=40", "max_tasks=3"),
    (*SCOLE, "scenario.chunk=10", "eval_every=4"),
]


def rows(x: Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in x}


@pytest.mark.parametrize("words", [STREAMS[0], STREAMS[1]])
def test_the_probe_is_of_training_samples_alone(words: tuple[str, ...]):
    r = run("strategy=naive", *words)
    x = probe_inputs(r.stream)
    train = r.stream.pool.gather("train", np.arange(r.stream.pool.size("train")))
    test = r.stream.pool.gather("test", np.arange(r.stream.pool.size("test")))
    assert rows(x) == rows(train)  # a small pool is taken whole
    assert not rows(x) & rows(test)


def test_the_probe_leaves_out_classes_that_the_stream_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
):
    r = run("strategy=naive", *SCOLE, "scenario.n_classes=2")
    labels = np.isin(r.stream.pool.labels("train"), r.stream.labels)
    x = probe_inputs(r.stream)
    assert rows(x) == rows(r.stream.pool.gather("train", np.flatnonzero(labels)))
    monkeypatch.setattr(diagnostics, "PROBE_SAMPLES", 5)
    assert torch.equal(probe_inputs(r.stream), x[:5])


def test_the_probe_is_spread_over_the_domains():
    r = run("strategy=naive", *STREAMS[2])
    x, stream = probe_inputs(r.stream), r.stream
    assert stream.transform is not None
    train = stream.pool.gather("train", np.arange(stream.pool.size("train")))
    seen = rows(x)
    noise = torch.Generator()
    sizes = [len(rows(stream.transform(train, d, noise)) & seen) for d in stream.domains]
    assert len(sizes) == 32
    assert sum(sizes) == len(x) == len(train)
    assert max(sizes) - min(sizes) <= 1


# --- nothing changes -----------------------------------------------------------------------------


def without(ledger: Any, own: tuple[str, ...]) -> dict[str, Any]:
    found = books(ledger)
    found["diagnostics"] = {k: v for k, v in found["diagnostics"].items() if k in own}
    return found


@pytest.mark.parametrize("words", STREAMS, ids=lambda words: words[0])
@pytest.mark.parametrize("strategy", ["naive", "ewc", "joint"])
@pytest.mark.usefixtures("few_steps")
def test_no_result_depends_on_diagnostics(strategy: str, words: tuple[str, ...]):
    plain, off = go(run(f"strategy={strategy}", *words))
    measured, on = go(run(f"strategy={strategy}", *words, ALL))
    assert (off.error, on.error) == (None, None)
    own = tuple(off.ledger.diagnostics)
    assert without(on.ledger, own) == books(off.ledger)
    assert same_state(measured.state_dict(), plain.state_dict())
    added = set(on.ledger.diagnostics) - set(own)
    assert added >= {"rankme", "effective_rank", "dead_units", "weight_norm", "plasticity"}
    n = len(on.ledger.evaluated_after)
    assert all(len(series) == n and None not in series for series in on.ledger.diagnostics.values())


@pytest.mark.parametrize("strategy", ["naive", "ewc", "joint"])
@pytest.mark.usefixtures("few_steps")
def test_resuming_gives_the_same_diagnostics(strategy: str):
    r = run(f"strategy={strategy}", *SCOLE, ALL, "checkpoint_seconds=0", "eval_every=2")
    saved: list[Any] = []
    _, whole = go(r, save=lambda ledger, state: saved.append(frozen(ledger, state)))
    for checkpoint in saved:
        _, outcome = resumed(r, checkpoint)
        assert books(outcome.ledger) == books(whole.ledger)


class Dropping(nn.Module):
    """Draws at every call in training mode; has a part that stays in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6).eval()
        self.layers = nn.Sequential(nn.Dropout(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(self.norm(x))
        return out


def generators() -> tuple[Any, ...]:
    drawn: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), drawn[1].tolist(), drawn[2], random.getstate()


def test_measuring_leaves_weights_modes_hooks_and_generators_as_they_are():
    r = run("strategy=naive", *SCOLE)
    strategy = GradientStrategy(r.info(), GradientStrategy.Config(), Dropping)
    calls: list[int] = []
    strategy.model.register_forward_pre_hook(lambda *_: calls.append(1))
    at = strategy.weights.data_ptr()
    probe = probe_of(r, strategy)
    for training in (True, False):
        strategy.train(training)
        strategy.model.norm.eval()
        before = copy.deepcopy(strategy.state_dict()), generators()
        modes = [m.training for m in strategy.modules()]
        first, second = probe.measure(), probe.measure()
        assert first == second  # dropout is seeded
        assert same_state(strategy.state_dict(), before[0])
        assert generators() == before[1]
        assert [m.training for m in strategy.modules()] == modes
    assert not calls
    assert all(p.grad is None for p in strategy.parameters())
    assert next(strategy.model.parameters()).data_ptr() == at  # still one flat vector


def test_switched_off_they_do_nothing(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any) -> None:
        raise AssertionError("not asked for")

    for name in ("__init__", "measure"):
        monkeypatch.setattr(Probe, name, refuse)
    _, outcome = go(run("strategy=naive", *SCOLE))
    assert outcome.error is None
    assert set(outcome.ledger.diagnostics) == {"loss"}


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_each_is_measured_alone_as_together(name: str):
    r = run("strategy=naive", *SCOLE)
    strategy = scaled(r.strategy(), 2.0)
    alone = Probe([name], strategy, r.stream, 1).measure()
    together = probe_of(r, strategy).measure()
    assert alone.items() < together.items()


def test_the_plasticity_probe_alone_takes_steps(monkeypatch: pytest.MonkeyPatch):
    """One fit for the baseline, then one an evaluation."""
    fits: list[int] = []
    monkeypatch.setattr(diagnostics, "refit", lambda *_: fits.append(1) or 0.0)
    go(run("strategy=naive", *SCOLE, "diagnostics=[rank,dead_units,weight_norm]"))
    assert not fits
    _, outcome = go(run("strategy=naive", *SCOLE, "diagnostics=plasticity"))
    assert len(fits) == 1 + len(outcome.ledger.evaluated_after)


# --- models --------------------------------------------------------------------------------------

PICTURES = pool(shape=(16, 16), n_train=4, n_test=2)


@pytest.mark.parametrize(
    ("model", "layers", "n_features"),
    [("linear", 0, 256), ("mlp", 2, 64), ("scole_cnn", 3, 50), ("slim_resnet18", 17, 160)],
)
@pytest.mark.usefixtures("few_steps")
def test_every_model_can_be_measured(model: str, layers: int, n_features: int):
    r = run("strategy=naive", *IMAGES, f"model={model}", ALL, on=PICTURES)
    strategy, outcome = go(r)
    assert outcome.error is None
    found = outcome.ledger.diagnostics
    assert sum(name.startswith("dead_units/") for name in found) == layers
    assert all((value is None) == (layers == 0) for value in found["dead_units"])
    assert observe(strategy.model, probe_inputs(r.stream))[0].shape == (16, n_features)
    assert all(value is not None for name in ("rankme", "plasticity") for value in found[name])
