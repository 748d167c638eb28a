"""What open settings came to: said for every plug-in, never of a setting that was set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import golden
import pytest
import yaml
from commands import tiny
from small import go, pool, record_of, run, write_npz

import clbench
from clbench.cli import main
from clbench.engine.settled import OPEN, network_line, settled
from clbench.errors import UsageError
from clbench.plugins.registry import plugins
from clbench.results.record import Record
from clbench.results.record_schema import faults

Capture = pytest.CaptureFixture[str]
OFF = {
    "no part of training": {"weights_path", "weights_sha256", "fisher_path", "fisher_sha256"},
    "not done": {"clip_norm", "patience", "half_life", "chunk"},
    "no limit of its own": {"memory_bytes", "memory_per_class"},
    "another one for each task": {"prune"},
}
"""Null settings that have no other value: the help says what null does."""
NOT_OPEN = set().union(*OFF.values())
INFO = ("scenario=scole", "scenario.n_tasks=3")


def prepared(name: str) -> Any:
    cases = golden.cases()
    told = f"strategy/{name}/told"
    words = cases[told if told in cases else f"strategy/{name}/incremental"]
    return clbench.prepare(*words, "device=cpu")


@pytest.mark.usefixtures("shared_cache")
@pytest.mark.parametrize("name", [*plugins("strategy")])
def test_every_open_setting_of_a_strategy_is_told(name: str):
    """A new strategy with a null or auto default says what it comes to, or ``OFF`` says what it is."""
    ready = prepared(name)
    strategy, config = ready.strategy(), ready.config.strategy
    found = settled(ready, strategy)
    still_open = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) in OPEN}
    idle = {"write_address", "prior_std"} if getattr(config, "address", "") == "fixed" else set()
    assert set(found.get("strategy", {})) | NOT_OPEN | idle >= still_open
    assert set(found.get("strategy", {})) <= still_open
    json.dumps(found, allow_nan=False)


def of(*words: str) -> dict[str, Any]:
    ready = run(*INFO, *words)
    return settled(ready, ready.strategy()).get("strategy", {})


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("naive",), {"lr": 0.1}),
        (("naive", "strategy.optimizer=adam"), {"lr": 1e-3}),
        (("naive", "strategy.lr=0.05"), {}),
        (("naive", "strategy.first.lr=0.5"), {"lr": 0.1}),
        (("ewc",), {"lr": 0.1, "penalty_step": "proximal"}),
        (("ewc", "strategy.optimizer=adam"), {"lr": 1e-3, "penalty_step": "explicit"}),
        (("ewc", "strategy.lr=1", "strategy.penalty_step=explicit"), {}),
        (("er",), {"lr": 0.1, "memory_size": 500, "replay_batch": 32}),
        (
            ("er", "strategy.memory_per_class=7", "strategy.replay_batch=3"),
            {"lr": 0.1, "memory_size": 28},
        ),
        # A slot: six float32, and the label and the key as int64.
        (("er", "strategy.memory_bytes=4800"), {"lr": 0.1, "memory_size": 120, "replay_batch": 32}),
        (("shrink_and_perturb",), {"lr": 0.1, "shrink": 0.9999, "sigma": 0.01}),
        (
            ("shrink_and_perturb", "strategy.every=step", "strategy.sigma=0"),
            {"lr": 0.1, "shrink": 0.999999},
        ),
        (
            ("mir", "strategy.replay_batch=4", "strategy.memory_size=9"),
            {"lr": 0.1, "candidates": 20},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_they_come_to(words: tuple[str, ...], wanted: dict[str, Any]):
    assert of(f"strategy={words[0]}", *words[1:]) == wanted


def test_the_rate_is_the_one_that_was_used():
    """The first step moves the weights by the gradient times the rate that is told."""
    ready = run("strategy=naive", *INFO, "strategy.clip_norm=null")
    strategy, _ = go(ready)
    assert strategy.lr == settled(ready, strategy)["strategy"]["lr"]


def test_the_network_that_nobody_named():
    ready = clbench.prepare("scenario=class_incremental", "strategy=naive", "data=digits")
    found = settled(ready, ready.strategy())
    assert found["model"] == {"name": "mlp", "named_by": "data=digits"}
    assert network_line(ready.config) == (
        "network mlp, the default of data=digits (model=NAME takes another)"
    )
    named = run("strategy=naive", *INFO, "model=linear")
    assert "model" not in settled(named, named.strategy())
    assert network_line(named.config) is None


def test_settings_of_scenarios_models_and_data(tmp_path: Path):
    images = run("strategy=naive", *INFO, "model=resnet18", on=pool(shape=(8, 8)))
    assert settled(images, images.strategy())["model"] == {"stem": "small"}
    assert settled(images, images.strategy())["scenario"] == {"n_classes": 4}
    npz = write_npz(tmp_path / "blobs.npz")
    words = ("scenario=scole", "strategy=naive", "data=npz", f"data.path={npz}")
    ready = clbench.prepare(*words)
    assert settled(ready, ready.strategy())["data"] == {"layout": "channels_first"}


def test_it_is_in_the_record_and_in_a_config_that_runs_the_same(tmp_path: Path, capsys: Capture):
    npz = write_npz(tmp_path / "blobs.npz")
    out = ["--out", str(tmp_path / "out")]
    assert main(["run", *tiny(npz), "strategy=er", "-q", *out]) == 0
    [folder] = (tmp_path / "out").glob("*/*/seed0")
    record = Record.load(folder / "record.json")
    assert record.resolved is not None
    assert record.resolved["strategy"]["memory_size"] == 500
    assert record.config["strategy"]["memory_size"] is None
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert written["resolved"] == record.resolved
    capsys.readouterr()
    assert main(["run", "--config", str(folder / "config.yaml"), "--dry-run", *out]) == 0
    assert str(folder) in capsys.readouterr().out


def test_it_is_no_part_of_the_identity(monkeypatch: pytest.MonkeyPatch):
    before = run("strategy=naive", *INFO)
    base = type(before.strategy())
    monkeypatch.setattr(base, "resolved", lambda self: {"lr": 7.0})
    after = run("strategy=naive", *INFO)
    assert settled(after, after.strategy())["strategy"] == {"lr": 7.0}
    assert (after.run_sha256, after.config_sha256) == (before.run_sha256, before.config_sha256)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return 3", "it must return a mapping of settings, not a int"),
        ('return {"pace": 1}', "'pace' is not one of its settings"),
        ('raise KeyError("x")', "KeyError: 'x'"),
    ],
)
def test_a_plugin_that_cannot_say_it_is_named(tmp_path: Path, body: str, told: str):
    mine = tmp_path / "mine.py"
    mine.write_text(
        '"""Mine."""\nfrom clbench import GradientStrategy\n\n\nclass Mine(GradientStrategy):\n'
        f'    """Says it."""\n\n    def resolved(self):\n        {body}\n'
    )
    ready = run(f"strategy={mine}", *INFO)
    with pytest.raises(UsageError, match=r"mine\.py line") as caught:
        settled(ready, ready.strategy())
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"strategy": {"epochs": 5}}, "resolved.strategy.epochs"),
        ({"strategy": {"pace": 5}}, "resolved.strategy.pace"),
        ({"teacher": {"lr": 5}}, "resolved.teacher"),
        ({"model": {"name": "linear"}}, "resolved.model.name"),
        ({"data": {"layout": "/home/ann/x"}}, "resolved"),
    ],
)
def test_a_strangers_record_may_not_contradict_its_settings(wrong: dict[str, Any], told: str):
    ready = run("strategy=naive", *INFO)
    record = record_of(ready, *go(ready))
    data = json.loads(json.dumps(record.to_dict()))
    assert data["resolved"] == {"scenario": {"n_classes": 4}, "strategy": {"lr": 0.1}}
    assert faults(data) == []
    assert any(told in fault for fault in faults({**data, "resolved": wrong}))
    del data["resolved"]
    assert faults(data) == []
    assert Record.parse(data, Path("old")).resolved is None
