"""Diagnostics: closed forms, nothing that they measure changes, and the record has them."""

from __future__ import annotations

import copy
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import go, points, pool, record_of, run
from test_harness import SCOLE, books, frozen, resumed, same_state
from test_tracking import scalars
from torch import Tensor, nn

from clbench import diagnostics
from clbench.build import Run
from clbench.config import DIAGNOSTICS, resolve
from clbench.diagnostics import (
    Probe,
    active_units,
    check_network,
    dead_units,
    effective_rank,
    observe,
    probe_inputs,
    rankme,
    refit,
    weight_norm,
)
from clbench.errors import UsageError
from clbench.execute import Options, run_all
from clbench.execute import record_of as recorded
from clbench.leaderboard import record_schema
from clbench.strategy import GradientStrategy, Strategy

ALL = "diagnostics=all"
IMAGES = ("scenario=class_incremental", "scenario.n_tasks=2")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plasticity probe of a few steps, for tests that do not look at its value."""
    monkeypatch.setattr(diagnostics, "FIT_STEPS", 3)


def probe_of(r: Run, strategy: Strategy | None = None) -> Probe:
    return Probe(DIAGNOSTICS, strategy or r.strategy(), r.stream, 1)


# --- rank ----------------------------------------------------------------------------------------


def features(seed: int, n: int, k: int) -> Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=(n, k)))


SHAPES = st.tuples(st.integers(0, 99), st.integers(1, 12), st.integers(1, 12))


def rankme_by_hand(z: np.ndarray, epsilon: float) -> float:
    """From the eigenvalues of the Gram matrix, term by term."""
    sigma = np.sqrt(np.clip(np.linalg.eigvalsh(z.T @ z), 0, None))
    p = sigma / sigma.sum() + epsilon
    return math.exp(-sum(float(q) * math.log(q) for q in p if q > 0))


@settings(max_examples=30, deadline=None)
@given(SHAPES)
def test_the_ranks_are_those_of_the_formula(shape: tuple[int, int, int]):
    z = features(shape[0], shape[1] + 12, shape[2])  # more samples than features
    assert float(rankme(z)) == pytest.approx(rankme_by_hand(z.numpy(), 1e-7), rel=1e-6)
    assert float(effective_rank(z)) == pytest.approx(rankme_by_hand(z.numpy(), 0.0), rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_orthonormal_features_have_full_rank(k: int):
    q = torch.linalg.qr(features(0, 20, k))[0]
    assert float(effective_rank(q)) == pytest.approx(k)
    assert float(rankme(q)) == pytest.approx(k, rel=1e-4)


def test_a_product_of_two_vectors_has_rank_one():
    z = features(1, 30, 1) @ features(2, 1, 8)
    assert float(effective_rank(z)) == pytest.approx(1)
    # Each of the eight directions has at least the epsilon: 1 + 8 eps (1 - log eps) at most.
    assert 1 < float(rankme(z)) < 1 + 8e-7 * (1 - math.log(1e-7))


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.floats(1e-3, 1e3))
def test_the_ranks_know_no_scale_no_rotation_and_no_order(
    shape: tuple[int, int, int], scale: float
):
    z = features(*shape)
    turned = z @ torch.linalg.qr(features(shape[0] + 1, shape[2], shape[2]))[0]
    for rank in (effective_rank, rankme):
        value = float(rank(z))
        assert 1 - 1e-6 <= value <= min(z.shape) * (1 + 1e-4)
        for other in (z * scale, turned, z.flip(0)):
            assert float(rank(other)) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("z", [torch.zeros(4, 3), torch.full((4, 3), torch.nan), torch.empty(0, 0)])
def test_the_rank_of_nothing_is_undefined(z: Tensor):
    assert math.isnan(float(effective_rank(z)))
    assert math.isnan(float(rankme(z)))


# --- units and weights ---------------------------------------------------------------------------


def test_a_unit_is_alive_if_one_sample_activates_it():
    hidden = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    assert active_units(hidden).tolist() == [False, True, True]
    assert dead_units([active_units(hidden)]) == pytest.approx(1 / 3)
    assert dead_units([active_units(hidden), torch.zeros(3, dtype=torch.bool)]) == pytest.approx(
        4 / 6
    )
    assert math.isnan(dead_units([]))


def test_of_a_convolution_a_unit_is_a_channel():
    maps = torch.zeros(2, 4, 3, 3)
    maps[1, 2, 0, 1] = 0.5
    assert active_units(maps).tolist() == [False, False, True, False]


def test_dead_units_are_found_where_they_are_made(monkeypatch: pytest.MonkeyPatch):
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        for layer, dead, bias in ((network[0], 3, 1e3), (network[2], 1, 1e5)):
            layer.bias.fill_(bias)  # alive on every input: weights are below 1
            layer.bias[:dead] = -1e9
    monkeypatch.setattr(diagnostics, "BATCH_SIZE", 7)
    x = features(0, 30, 5).float()
    seen, active = observe(network, x)
    assert [dead_units([layer]) for layer in active] == [3 / 8, 1 / 4]
    assert torch.equal(seen, network[:4](x))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_activity_in_any_batch_of_the_probe_counts(monkeypatch: pytest.MonkeyPatch):
    network = nn.Sequential(nn.Identity(), nn.ReLU())
    x = torch.cat([torch.eye(4), torch.zeros(4, 4)])
    for size in (1, 3, 8):
        monkeypatch.setattr(diagnostics, "BATCH_SIZE", size)
        seen, active = observe(network, x)
        assert active[0].all()
        assert seen.numel() == 0  # no linear layer


def test_the_weight_norm_is_over_all_parameters_together():
    found = weight_norm([torch.tensor([[3.0, -4.0]]), torch.tensor([12.0])])
    assert found == {"weight_norm": 13.0, "weight_magnitude": pytest.approx(19 / 3)}


# --- plasticity ----------------------------------------------------------------------------------

WIDE = ("model=mlp", "model.hidden=[16,16]")


def scaled(strategy: Any, factor: float) -> Any:
    with torch.no_grad():
        strategy.weights.mul_(factor)
    return strategy


def test_a_new_network_is_as_plastic_as_itself():
    r = run("strategy=naive", *SCOLE, *WIDE)
    assert probe_of(r).measure()["plasticity"] == 0.0


def test_saturated_and_dead_networks_are_less_plastic():
    r = run("strategy=naive", *SCOLE, *WIDE)
    blown_up = probe_of(r, scaled(r.strategy(), 30.0)).measure()
    assert blown_up["plasticity"] < -0.05
    dead: Any = r.strategy()
    with torch.no_grad():
        for layer in dead.model:
            if isinstance(layer, nn.Linear) and layer.out_features == 16:
                layer.bias.fill_(-1e3)
    found = probe_of(r, dead).measure()
    assert found["dead_units"] == 1
    assert found["plasticity"] < -0.01  # only the output's biases can learn
    assert math.isnan(found["rankme"])


def test_refitting_takes_the_steps_it_is_given():
    """Adam's first step is the learning rate, whatever the gradient."""
    network = nn.Linear(3, 2)
    before = [p.clone() for p in network.parameters()]
    x, y = features(0, 10, 3).float(), torch.arange(10) % 2
    loss = refit(network, x, y, [torch.arange(10)])
    for p, old in zip(network.parameters(), before, strict=True):
        assert (p - old).abs().max().item() == pytest.approx(diagnostics.FIT_LR, rel=1e-3)
    assert loss == pytest.approx(nn.functional.cross_entropy(network(x), y).item())


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
@pytest.mark.usefixtures("quick")
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
@pytest.mark.usefixtures("quick")
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
@pytest.mark.usefixtures("quick")
def test_every_model_can_be_measured(model: str, layers: int, n_features: int):
    r = run("strategy=naive", *IMAGES, f"model={model}", ALL, on=PICTURES)
    strategy, outcome = go(r)
    assert outcome.error is None
    found = outcome.ledger.diagnostics
    assert sum(name.startswith("dead_units/") for name in found) == layers
    assert all((value is None) == (layers == 0) for value in found["dead_units"])
    assert observe(strategy.model, probe_inputs(r.stream))[0].shape == (16, n_features)
    assert all(value is not None for name in ("rankme", "plasticity") for value in found[name])


# --- what cannot be measured ---------------------------------------------------------------------


class Constant(Strategy):
    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        return x.new_zeros(len(x), self.info.n_classes)


def test_a_strategy_without_a_network_is_refused_in_one_line():
    r = run("strategy=naive", *SCOLE, "diagnostics=rank")
    constant = Constant(r.info(), Strategy.Config(), r.strategy().build_model)
    with pytest.raises(UsageError, match="Constant does not learn") as caught:
        go(r, constant)
    assert "\n" not in str(caught.value)
    check_network((), constant)  # nothing was asked for


def test_a_network_that_was_rebuilt_is_refused():
    r = run("strategy=naive", *SCOLE)
    changed = r.strategy()
    changed.model = nn.Sequential(changed.model, nn.Linear(4, 4))
    with pytest.raises(UsageError, match="build_model"):
        check_network(["weight_norm"], changed)


def test_rank_needs_a_linear_layer():
    r = run("strategy=naive", *SCOLE)

    def convolution() -> nn.Module:
        return nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 6), nn.ReLU(), nn.Flatten())

    strategy = GradientStrategy(r.info(), GradientStrategy.Config(), convolution)
    with pytest.raises(UsageError, match="drop rank"):
        check_network(["rank"], strategy)
    assert set(Probe(["dead_units"], strategy, r.stream, 1).measure()) == {
        "dead_units",
        "dead_units/1",
    }


WITHOUT_NETWORK = """from clbench.strategy import Strategy

class Lazy(Strategy):
    def learn(self, task):
        raise AssertionError("was run")
"""


def test_a_sweep_is_refused_before_anything_runs(tmp_path: Path, npz: Path):
    (tmp_path / "lazy.py").write_text(WITHOUT_NETWORK)
    words = (f"strategy=naive,{tmp_path / 'lazy.py'}", *SCOLE, ALL)
    with pytest.raises(UsageError, match="Lazy"):
        list(run_all(points(*words, npz=npz), Options(out=tmp_path / "runs", quiet=True)))
    assert not (tmp_path / "runs").exists()


# --- settings, record, board ---------------------------------------------------------------------


def chosen(*words: str) -> tuple[str, ...]:
    [config] = resolve(["scenario=scole", "strategy=naive", *words])
    return config.common.diagnostics


def test_the_setting_is_a_list_a_word_or_all():
    assert chosen() == chosen("diagnostics=[]") == ()
    assert chosen("diagnostics=all") == chosen("diagnostics=[all]") == DIAGNOSTICS
    assert chosen("diagnostics=plasticity") == ("plasticity",)
    assert chosen("diagnostics=[plasticity,rank,rank]") == ("rank", "plasticity")
    with pytest.raises(UsageError, match="did you mean 'rank'"):
        chosen("diagnostics=[rang]")


def test_diagnostics_are_part_of_what_a_run_is_only_where_there_are_any():
    def identity(*words: str) -> dict[str, Any]:
        [config] = resolve(["scenario=scole", "strategy=naive", *words])
        return config.identity()

    assert "diagnostics" not in identity()
    assert identity("diagnostics=rank") == {**identity(), "diagnostics": ["rank"]}
    assert identity("diagnostics=all")["diagnostics"] == list(DIAGNOSTICS)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    from small import write_npz

    return write_npz(tmp_path / "blobs.npz")


def test_what_is_plotted_is_what_was_measured():
    from matplotlib.figure import Figure

    from clbench.plots import MEASURED, plot_diagnostic

    r = run("strategy=naive", *SCOLE, "model=linear", "diagnostics=[rank,dead_units]")
    record = record_of(r, *go(r))
    for name in MEASURED[:2]:
        axes = Figure().subplots()
        plot_diagnostic([record], name, axes)
        [line] = axes.lines
        assert list(line.get_xdata()) == record.counts["evaluated_after"]
        values = [None if math.isnan(y) else y for y in np.asarray(line.get_ydata(), float)]
        assert values == record.diagnostics[name]


@pytest.mark.usefixtures("quick")
def test_the_record_and_tensorboard_have_them(tmp_path: Path, npz: Path):
    import json

    words = ("strategy=naive", *SCOLE, "diagnostics=[],all")
    options = Options(out=tmp_path / "runs", quiet=True)
    off, on = list(run_all(points(*words, npz=npz), options))
    assert off.folder != on.folder
    plain, record = recorded(off), recorded(on)
    assert record.predictions_sha256 == plain.predictions_sha256
    assert record.counts == plain.counts
    assert record_schema.faults(json.loads((on.folder / "record.json").read_bytes())) == []
    assert record.config["diagnostics"] == list(DIAGNOSTICS)
    frame = record.frame()
    for name in ("rankme", "effective_rank", "dead_units", "weight_norm", "plasticity"):
        series = record.diagnostics[name]
        assert frame[name].tolist() == series
        steps = list(zip(record.counts["evaluated_after"], series, strict=True))
        assert scalars(on.folder / "tensorboard", f"diagnostics/{name}") == [
            (step, pytest.approx(value)) for step, value in steps
        ]


def test_the_seconds_of_the_probe_are_the_harness_s(monkeypatch: pytest.MonkeyPatch):
    """Half a second in each measurement shows up nowhere else."""
    clock = [0.0]

    def measure(self: Probe) -> dict[str, float]:
        clock[0] += 0.5
        return {}

    monkeypatch.setattr(Probe, "measure", measure)
    monkeypatch.setattr("clbench.harness.time.perf_counter", lambda: clock[0])
    r = run("strategy=naive", *SCOLE, ALL)
    strategy, outcome = go(r)
    cost = record_of(r, strategy, outcome).cost
    assert cost["harness_seconds"] == 0.5 * len(outcome.ledger.evaluated_after)
    assert (cost["train_seconds"], cost["predict_seconds"]) == (0, 0)
