"""The Kanerva strategy against regression in closed form, and its other modes under the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import go, pool, run

from clbench.checks import Rig, attempt
from clbench.checks.strategy import CHECKS, works_in_float64
from clbench.checks.strategy_device import _Waits, _watched
from clbench.engine.build import Run
from clbench.engine.ledger import state_bytes
from clbench.errors import UsageError
from clbench.memory.kanerva import fixed_address
from clbench.plugins.registry import Plugin, find
from clbench.stream import TaskData

WORDS = ("strategy=kanerva", "scenario=class_incremental", "scenario.classes_per_task=2")
SMALL = ("strategy.memory_size=16", "strategy.block=5")
REPLAY = ("strategy.mode=replay", "strategy.noise=0.01")  # two dozen samples are to tell something


def kanerva(*words: str) -> tuple[Run, Any]:
    given = {word.partition("=")[0] for word in words}
    if "strategy.memory_bytes" in given:
        given.add("strategy.memory_size")
    r = run(*WORDS, *(word for word in SMALL if word.partition("=")[0] not in given), *words)
    return r, r.strategy()


def learnt(*words: str) -> tuple[Run, Any]:
    r, strategy = kanerva(*words)
    return r, go(r, strategy)[0]


def variant(folder: Path, **defaults: str) -> Plugin:
    """The plug-in with other defaults: the contract runs on default settings."""
    text = find("strategy", "kanerva").path.read_text()
    for name, value in defaults.items():
        [line] = [x for x in text.splitlines() if x.strip().startswith(f"{name}: ")]
        text = text.replace(line, f"{line.rpartition('=')[0]}= {value!r}")
    path = folder / f"kanerva_{'_'.join(defaults.values())}.py"
    path.write_text(text)
    return find("strategy", str(path))


@pytest.fixture(scope="module")
def replay_rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    plugin = variant(tmp_path_factory.mktemp("replay"), mode="replay")
    assert plugin.load().Config().mode == "replay"
    return Rig(plugin)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_replay_passes_the_contract(check: Any, replay_rig: Rig):
    finding = attempt(check, replay_rig)
    assert finding.passed, finding.message


@pytest.mark.parametrize(
    "defaults",
    [
        {"address": "fixed"},
        {"address": "official", "write_address": "whole"},
        {"mode": "replay", "generate": "prior"},
    ],
    ids=str,
)
def test_variants_work_in_float64(defaults: dict[str, str], tmp_path: Path):
    finding = attempt(works_in_float64, Rig(variant(tmp_path, **defaults)))
    assert finding.passed, finding.message


@pytest.mark.parametrize("address", ["map", "official", "fixed"])
@pytest.mark.parametrize("mode", ["classifier", "replay"])
def test_learning_never_waits_for_the_device(address: str, mode: str):
    """The whole of a classifier's learning, and the writing of replay."""
    r, strategy = kanerva(f"strategy.address={address}", f"strategy.mode={mode}")
    watch = _Waits(find("strategy", "kanerva").path)
    _watched(strategy, "_write", watch)
    go(r, strategy)
    assert watch.found is None, watch.found


@pytest.mark.parametrize("chunk", ["null", "7"])
def test_with_fixed_addresses_it_is_ridge_regression_on_all_that_was_seen(chunk: str):
    r, strategy = kanerva("strategy.address=fixed", f"scenario.chunk={chunk}", "strategy.noise=0.5")
    strategy, _ = go(r, strategy.double())
    everything = [r.stream.experience(t) for t in range(r.stream.n_experiences(2))]
    x = torch.cat([task.x for task in everything]).double()
    y = torch.nn.functional.one_hot(torch.cat([task.y for task in everything]), 4).double()
    keys = strategy.memory.keys

    features = fixed_address(keys, x)
    weights = (features.T @ features + 0.5 * torch.eye(16)).inverse() @ features.T @ y
    world = r.stream.world()
    torch.testing.assert_close(strategy(world.x), fixed_address(keys, world.x.double()) @ weights)


def test_label_scale_only_scales_the_scores_where_labels_do_not_address():
    (r, one), (_, three) = learnt(), learnt("strategy.label_scale=3")
    x = r.stream.world().x
    torch.testing.assert_close(three(x), 3 * one(x), rtol=1e-4, atol=1e-5)
    whole = [
        learnt("strategy.write_address=whole", f"strategy.label_scale={s}")[1](x) for s in (1, 3)
    ]
    assert not torch.allclose(whole[1], 3 * whole[0], rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("words", "whole"),
    [((), False), (("mode=replay",), True), (("mode=replay", "address=fixed"), False)],
)
def test_labels_take_part_in_addresses_of_replay(words: tuple[str, ...], whole: bool):
    """U is a function of the addresses alone; a label's scale shows in it iff labels address."""
    ends = [
        learnt(*(f"strategy.{word}" for word in words), f"strategy.label_scale={s}")[1]
        for s in (1, 5)
    ]
    same = torch.allclose(ends[0].memory.covariance, ends[1].memory.covariance, rtol=1e-6)
    assert same != whole


def test_the_length_of_a_sample_does_not_matter_to_the_classifier():
    r, strategy = learnt()
    x = r.stream.world().x
    torch.testing.assert_close(strategy(5 * x), strategy(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["classifier", "replay"])
def test_unlabelled_samples_are_not_written(mode: str):
    r, strategy = kanerva(f"strategy.mode={mode}")
    task = r.stream.experience(0)
    before = {k: v.clone() for k, v in strategy.memory.state_dict().items()}
    strategy.learn(replace(task, y=torch.full_like(task.y, -1)))
    for name, value in strategy.memory.state_dict().items():
        assert torch.equal(value, before[name]), name
    strategy.learn(replace(task, y=torch.where(torch.arange(len(task)) % 3 == 0, -1, task.y)))
    assert float(strategy.memory.written) == sum(i % 3 != 0 for i in range(len(task)))


@pytest.mark.parametrize(("address", "width"), [("map", 4 + 6), ("fixed", 4)])
def test_a_classifier_keeps_its_memory_and_no_network(address: str, width: int):
    r, strategy = kanerva(f"strategy.address={address}")
    strategy, outcome = go(r, strategy)
    keys = 16 * 6 * 4 if address == "fixed" else 0
    memory = 16 * width * 4 + 16 * 16 * 8 + 8 + keys
    assert strategy.memory_bytes() == memory
    # Besides it: which classes were seen and are at hand, and the base class's mean loss.
    assert outcome.ledger.state_bytes == memory + 4 + 4 + 4
    assert outcome.ledger.updates == 0
    assert not list(strategy.parameters())


@pytest.mark.parametrize("mode", ["classifier", "replay"])
@pytest.mark.parametrize("address", ["map", "fixed"])
def test_bytes_are_spent_on_as_many_rows_as_they_hold(address: str, mode: str):
    words = (f"strategy.address={address}", f"strategy.mode={mode}")
    strategy = kanerva(*words, "strategy.memory_bytes=3000")[1]
    rows = len(strategy.memory.mean)
    larger = kanerva(*words, f"strategy.memory_size={rows + 1}")[1]
    assert strategy.memory_bytes() <= 3000 < larger.memory_bytes()


@pytest.mark.slow
def test_state_is_constant_over_ten_thousand_tasks():
    r, strategy = kanerva("strategy.memory_size=3")
    before = state_bytes(strategy.state_dict())
    task = r.stream.experience(0)
    x, y = task.x[:2].repeat(10_000, 1), task.y[:2].repeat(10_000)
    for t in range(10_000):
        pair = slice(2 * t, 2 * t + 2)
        strategy.learn(TaskData(x[pair] + 1e-4 * t, y[pair], task.key[:2]))
    assert state_bytes(strategy.state_dict()) == before
    assert float(strategy.memory.written) == 20_000
    assert float(torch.linalg.eigvalsh(strategy.memory.covariance).min()) > 0
    assert bool(strategy(task.x).isfinite().all())


def test_a_completed_label_is_read_with_the_samples_of_its_class():
    """Blobs: a read of a class lies nearer to the mean of that class than to any other."""
    r, strategy = learnt(*REPLAY, "strategy.memory_size=64")
    tasks = [r.stream.experience(t) for t in range(2)]
    x, y = torch.cat([t.x for t in tasks]), torch.cat([t.y for t in tasks])
    means = torch.stack([x[y == c].mean(0) for c in range(4)])
    strategy.begin(tasks[0])
    classes, basis, gain = strategy._generator
    assert classes.tolist() == [0, 1, 2, 3]
    torch.manual_seed(0)
    reads, labels = strategy._reads(400, classes, basis, gain)
    centres = torch.stack([reads[labels == c, :6].mean(0) for c in range(4)])
    assert torch.cdist(centres, means).argmin(1).tolist() == [0, 1, 2, 3]
    scores = reads[:, 6:]
    assert float((scores.argmax(1) == labels).float().mean()) > 0.95


@pytest.mark.parametrize("generate", ["class", "stored", "prior"])
def test_reads_come_after_the_first_write_in_the_pools_dtype(generate: str):
    images = pool(shape=(4, 4))
    r = run(*WORDS, *SMALL, "strategy.mode=replay", f"strategy.generate={generate}", on=images)
    strategy = r.strategy()
    first, second = r.stream.experience(0), r.stream.experience(1)
    batch = next(strategy.batches(strategy.begin(first)))
    assert strategy.draw(batch) is batch
    strategy.learn(first)
    batch = next(strategy.batches(strategy.begin(second)))
    mixed = strategy.draw(batch)
    n = len(batch.y)
    assert mixed.x.dtype == torch.uint8
    assert mixed.x.shape == (n + 32, 4, 4)
    assert torch.equal(mixed.x[:n], batch.x)
    assert set(mixed.y[n:].tolist()) <= {0, 1}


def test_replayed_task_ids_allow_the_class():
    r = run(
        "strategy=kanerva",
        "scenario=task_incremental",
        "scenario.classes_per_task=2",
        *SMALL,
        "strategy.mode=replay",
    )
    strategy = r.strategy()
    for t in range(2):
        strategy.learn(r.stream.experience(t))
    batch = next(strategy.batches(strategy.begin(r.stream.experience(1))))
    mixed = strategy.draw(batch)
    assert bool(strategy.classes_of_task[mixed.task_id, mixed.y].all())
    assert 0 in mixed.task_id[len(batch.y) :]


def test_replay_remembers_what_plain_training_forgets():
    words = (*WORDS[1:], "strategy.epochs=60")
    arms = ("strategy=naive",), ("strategy=kanerva", "strategy.mode=replay", *SMALL)
    naive, replay = (go(run(*arm, *words))[1].ledger.world_accuracy[-1] for arm in arms)
    assert naive < 0.6
    assert replay > naive + 0.2


@pytest.mark.parametrize(
    "words",
    [
        ("memory_size=0",),
        ("memory_size=-1",),
        ("memory_bytes=0",),
        ("memory_bytes=50",),
        ("memory_size=5", "memory_bytes=5000"),
        ("block=0",),
        ("iterations=-1",),
        ("mode=replay", "replays=0"),
        ("noise=0",),
        ("prior_std=-1",),
        ("label_scale=0",),
        ("mode=replay", "label_noise=-1"),
        ("lr=0.1",),
        ("generate=prior",),
        ("address=fixed", "prior_std=1"),
        ("address=fixed", "write_address=whole"),
        ("address=fixed", "iterations=1"),
    ],
    ids=" ".join,
)
def test_bad_settings_are_refused_in_one_line(words: tuple[str, ...]):
    with pytest.raises(UsageError) as error:
        kanerva(*(f"strategy.{word}" for word in words))
    assert "\n" not in str(error.value)
    assert words[-1].partition("=")[0] in str(error.value)
