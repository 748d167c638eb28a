"""Avalanche's strategies under the harness: settings, refusals, warnings, costs, what is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import learn, needs_avalanche, run_of
from small import go, pool, record_of, write_npz

from clbench import seeding
from clbench.checks import ON_OWN_CODE, Rig, attempt, check, suite
from clbench.checks.finding import Finding
from clbench.checks.training import predict
from clbench.cli import main
from clbench.engine.reach import held_bytes
from clbench.errors import UsageError
from clbench.interop import parts
from clbench.interop.known import KNOWN, Known
from clbench.plugins.registry import find
from clbench.results.record import Record
from clbench.seeding import Axis

pytestmark = needs_avalanche

REQUIRED = {
    "ewc_lambda": "1.0",
    "si_lambda": "1.0",
    "alpha": "1.0",
    "temperature": "2.0",
    "patterns_per_exp": "5",
    "subsample": "10",
    "mem_size": "40",
    "memory_size": "8",
    "fixed_memory": "true",
    "lambda_e": "1.0",
}
"""For settings without a default, and small memories."""


def words(name: str) -> list[str]:
    fields = dataclasses.fields(find("strategy", f"avalanche:{name}").load().Config)
    needed = [f.name for f in fields if f.default is dataclasses.MISSING or f.name == "mem_size"]
    return [f"strategy=avalanche:{name}", *(f"strategy.{n}={REQUIRED[n]}" for n in needed)]


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz")


def test_settings_are_those_of_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of("strategy=avalanche:EWC", "strategy.ewc_lambda=1")
    config = run.config.strategy
    assert config.ewc_lambda == 1.0
    assert isinstance(config.ewc_lambda, float)
    assert (config.mode, config.decay_factor, config.keep_importance_data) == (
        "separate",
        None,
        False,
    )
    assert config.version.startswith("0.6")
    several = run_of("strategy=avalanche:SynapticIntelligence", "strategy.si_lambda=[1,2]")
    assert several.config.strategy.si_lambda == (1.0, 2.0)
    assert main(["show", "strategy=avalanche:EWC"]) == 0
    shown = capsys.readouterr().out
    assert "strategy.ewc_lambda=required   (float)" in shown
    assert "strategy.batch_size=32" in shown


WRONG = {
    "strategy.ewc_lamda=1": "no setting 'ewc_lamda'; did you mean 'ewc_lambda'?",
    "strategy.ewc_lambda=x": "strategy.ewc_lambda=x",
    "strategy.batch_size=0": "at least 1",
    "strategy.version=0.5": "strategy.version=0.5: avalanche-lib 0.6",
    "strategy.optimizer=nothing": "unknown strategy.optimizer",
    "strategy.decay_factor=1": "set `online` mode",
    "data.augment=flip_crop": "data.augment",
}


@pytest.mark.parametrize("word", WRONG)
def test_wrong_settings_are_refused(word: str) -> None:
    given = ["strategy=avalanche:EWC", word]
    given += [] if word.startswith("strategy.ewc_lambda=") else ["strategy.ewc_lambda=1"]
    with pytest.raises(UsageError) as refused:
        run_of(*given).strategy()
    assert WRONG[word] in str(refused.value)


REFUSED = {
    "EWD": "has no strategy 'EWD'; did you mean 'EWC'?",
    "": "needs a name: strategy=avalanche:NAME",
    "BiC": "cannot be run: it calls MultiStepLR",
    "JointTraining": "it needs all experiences at once",
    "EWC": "needs strategy.ewc_lambda=...",
    "CWRStar": "needs classes that come in one task only",
    "GenerativeReplay": "takes samples of 784 values; these have 6",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_is_refused_before_training(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        run_of(f"strategy=avalanche:{name}").strategy()
    assert REFUSED[name] in str(refused.value)


def test_the_list_says_what_cannot_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "strategies", "avalanche:*"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:])
    assert {f"avalanche:{name}" for name in KNOWN} <= set(lines)
    told = {name for name, line in lines.items() if line.startswith("cannot be run: ")}
    assert told >= {f"avalanche:{name}" for name, what in KNOWN.items() if what.fails}
    assert "avalanche:Naive" in set(lines) - told


def runnable() -> list[str]:
    from clbench.interop.avalanche import options

    return [name for name, line in options().items() if not line.startswith("cannot be run")]


def test_all_others_learn_and_what_grows_is_known(recwarn: pytest.WarningsRecorder) -> None:
    """Bytes held after each experience; none prints, and none warns of itself."""
    big = pool(n_train=20)  # GSS_greedy fills a memory of two batches in its first experience
    grown, known = set(), set()
    names = set(runnable()) - {"GenerativeReplay"}
    for name in sorted(names):
        scenario = ["scenario=class_incremental", "scenario.n_tasks=2"]
        if not KNOWN.get(name, Known()).disjoint:
            scenario = ["scenario.n_tasks=4"]
        run = run_of(*words(name), "strategy.batch_size=8", *scenario, on=big)
        strategy = run.strategy()
        held = []
        for number in range(run.n_tasks or 0):
            strategy.learn(run.stream.experience(number))
            held.append(held_bytes(strategy))
        scores = predict(strategy, run.stream.world().x, None)
        assert scores.shape == (20, 4), name
        assert bool(scores.isfinite().all()), name
        assert held[-1] > 0
        grown |= {name} if len(held) == 4 and held[1] < held[2] < held[3] else set()
        known |= {name} if strategy.grows else set()
    assert grown == known
    assert len(names) > 15
    assert not recwarn.list


def test_icarl_gets_the_classes_it_asks_for() -> None:
    words_ = ("scenario=class_incremental", "scenario.n_tasks=2", "strategy.batch_size=8")
    run = run_of(*words("ICaRL"), *words_, "strategy.epochs=20")
    strategy: Any = run.strategy()
    learn(run, strategy)
    plugin = next(p for p in strategy.inner.plugins if hasattr(p, "observed_classes"))
    tasks = [run.stream.experience(t).y.unique().tolist() for t in range(2)]
    assert plugin.observed_classes == tasks[0] + tasks[1]
    assert {len(x) for x in plugin.x_memory} == {2}  # eight exemplars of four classes


def test_growing_state_is_warned_of_and_bounded_state_is_not() -> None:
    run = run_of("strategy=avalanche:EWC", "strategy.ewc_lambda=1")
    record = record_of(run, *go(run))
    told = {"pretrained": False, "grows": True, "resumable": False, "trains_network": True}
    assert record.declares == told
    [warning] = record.warnings
    assert "its state grows; with strategy.mode=online it does not" in warning
    online = ("strategy.mode=online", "strategy.decay_factor=1")
    run = run_of("strategy=avalanche:EWC", "strategy.ewc_lambda=1", *online)
    strategy, outcome = go(run)
    record = record_of(run, strategy, outcome)
    assert record.declares["grows"] is False
    assert record.warnings == []
    assert record.cost["state_bytes_method"] == "reachable"
    n = sum(p.numel() for p in strategy.model.parameters())
    assert record.cost["state_bytes"] >= 3 * 4 * n  # weights, Fisher, anchor
    run = run_of("strategy=avalanche:SynapticIntelligence", "strategy.si_lambda=1")
    assert "is naive training" in record_of(run, *go(run)).warnings[0]


@pytest.mark.parametrize("balanced", [True, False])
def test_the_memory_goes_on_admitting(balanced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more experiences than places; Avalanche's own default keeps the first ones alone."""
    if not balanced:
        monkeypatch.setattr(parts, "balance", lambda inner, storage: None)
    run = run_of("strategy=avalanche:Replay", "strategy.mem_size=4", "scenario.n_tasks=12")
    strategy: Any = run.strategy()
    with seeding.preserved(threads=1):
        seeding.seed_all(0, Axis.LEARN)
        for number in range(12):  # every sample tells which experience it is of
            task = run.stream.experience(number)
            numbered = torch.full_like(task.x, number)
            strategy.learn(dataclasses.replace(task, x=numbered))
    policy = next(p for p in strategy.inner.plugins if hasattr(p, "storage_policy")).storage_policy
    stored = {int(sample[0][0]) for sample in policy.buffer}
    assert len(policy.buffer) == 4
    assert (max(stored) > 3) == balanced


def test_an_experience_has_its_number_and_no_neighbours() -> None:
    from clbench.interop.avalanche import one_experience

    found = one_experience(torch.zeros(3, 2), torch.tensor([1, 1, 2]), "train", 7)
    assert found.current_experience == 7
    assert found.task_labels == [0]
    assert len(found.origin_stream) == 1
    assert not found.previous_classes
    assert not found.future_classes


def contract(name: str, checks: set[str] | None = None) -> list[Finding]:
    needed = tuple((n, v) for n, _, v in (w[9:].partition("=") for w in words(name)[1:]))
    plugin = dataclasses.replace(find("strategy", f"avalanche:{name}"), given=needed)
    if checks is None:
        return list(check(plugin))
    rig = Rig(plugin)
    return [attempt(one, rig) for one in suite("strategy") if one.__name__ in checks]


def test_it_answers_like_one_of_ours() -> None:
    """The checks of the contract that the bridge is for; all of them in the next test."""
    asked = {"predicts_without_changing_anything", "cannot_reach_the_stream"}
    found = contract("EWC", asked | {"refuses_senseless_settings"})
    assert [(f.passed, f.message) for f in found] == [(True, "")] * 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EWC", "Replay", "StreamingLDA"])
def test_the_whole_contract(name: str) -> None:
    found = contract(name)
    assert [f"{f.check}: {f.message}" for f in found if not f.passed] == []
    skipped = {f.check for f in found if f.message.startswith("does not apply")}
    assert skipped >= {"continues_bit_for_bit_in_a_new_process", *ON_OWN_CODE}


def test_from_the_command_line_and_back_from_its_config(
    npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of which one job fails: the others finish, it is listed, and the code is 1."""
    monkeypatch.setattr(
        "clbench.results.plots.save_curve", lambda records, path: path.write_bytes(b"png")
    )
    given = ["scenario=scole", "scenario.n_tasks=3", "data=npz", f"data.path={npz}"]
    given += ["model=mlp", "model.hidden=[8]", "device=cpu", f"--out={tmp_path}", "-q"]
    given += ["tracker=none"]
    # GSS_greedy raises where its memory is smaller than its batch of new and replayed samples.
    arms = "strategy=naive,avalanche:GSS_greedy,avalanche:EWC"
    settings = ["avalanche:EWC.ewc_lambda=2", "avalanche:GSS_greedy.mem_size=8"]
    assert main(["run", *given, arms, *settings]) == 1
    out, err = capsys.readouterr()
    assert "ValueError: max() arg is an empty sequence" in err
    assert "naive" in out
    assert "avalanche:EWC" in out
    [folder] = (tmp_path / "scole").glob("avalanche-EWC-*/seed0")
    record = Record.load(folder / "record.json")
    assert record.config["strategy"]["name"] == "avalanche:EWC"
    assert record.config["strategy"]["ewc_lambda"] == 2.0
    statuses = {Record.load(p).status for p in tmp_path.rglob("record.json")}
    assert statuses == {"completed", "error"}
    assert (
        main(["run", f"--config={folder / 'config.yaml'}", f"--out={tmp_path}", "--dry-run"]) == 0
    )
    assert "already done" in capsys.readouterr().out


def test_a_stream_without_all_labels_is_refused_before_the_run() -> None:
    with pytest.raises(UsageError, match=r"needs labels \(drop scenario\.unlabelled\)"):
        run_of("strategy=avalanche:Naive", "scenario.unlabelled=0.5")
