"""Diagnostics of a run: what is refused, set, recorded and plotted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import go, points, record_of, run
from test_diagnostics import ALL
from test_harness import SCOLE
from torch import Tensor, nn
from trackers.telling import scalars

from clbench.configure.common import DIAGNOSTICS
from clbench.configure.config import resolve
from clbench.configure.trackers import Chosen
from clbench.engine.diagnostics import (
    Probe,
    check_network,
)
from clbench.engine.execute import Options
from clbench.engine.execute import record_of as recorded
from clbench.errors import UsageError
from clbench.plugins.registry import find
from clbench.results import record_schema
from clbench.strategy import GradientStrategy, Strategy
from clbench.sweeps.local import run_all

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
        list(
            run_all(
                points(*words, npz=npz), Options(out=tmp_path / "runs", quiet=True, curve=False)
            )
        )
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

    from clbench.results.plots import MEASURED, plot_diagnostic

    r = run("strategy=naive", *SCOLE, "model=linear", "diagnostics=[rank,dead_units]")
    record = record_of(r, *go(r))
    for name in MEASURED[:2]:
        axes = Figure().subplots()
        plot_diagnostic([record], name, axes)
        [line] = axes.lines
        assert list(line.get_xdata()) == record.counts["evaluated_after"]
        values = [None if math.isnan(y) else y for y in np.asarray(line.get_ydata(), float)]
        assert values == record.diagnostics[name]


@pytest.mark.usefixtures("few_steps")
def test_the_record_and_tensorboard_have_them(tmp_path: Path, npz: Path):
    import json

    words = ("strategy=naive", *SCOLE, "diagnostics=[],all")
    curves = Chosen(find("tracker", "tensorboard"))
    options = Options(out=tmp_path / "runs", quiet=True, trackers=(curves,))
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
    monkeypatch.setattr("clbench.engine.harness.time.perf_counter", lambda: clock[0])
    r = run("strategy=naive", *SCOLE, ALL)
    strategy, outcome = go(r)
    cost = record_of(r, strategy, outcome).cost
    assert cost["harness_seconds"] == 0.5 * len(outcome.ledger.evaluated_after)
    assert (cost["train_seconds"], cost["predict_seconds"]) == (0, 0)
