"""Pools of latents: what they give, what they cost, what they refuse; and how scenarios meet them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import small
import torch
from encoding import TINY, calls, config, latents, write
from hypothesis import given
from hypothesis import strategies as st
from small import CPU

from clbench.checks.pools import symbols
from clbench.configure.config import resolve_point
from clbench.data import latent
from clbench.data.latent import LatentPool
from clbench.data.pairs.pool import PairsPool
from clbench.data.pool import Pool, TensorPool
from clbench.data.sets.all_pairs import AllPairs
from clbench.data.synbols.pool import SynbolsPool
from clbench.data.transforms import Corrupt
from clbench.engine.build import load_pool, prepare
from clbench.errors import UsageError
from clbench.plugins.registry import plugins
from clbench.results.tables import columns_of, summarise

IMAGES = small.pool(n_classes=4, n_train=12, n_test=5, shape=(8, 8))
N_TRAIN, N_TEST = 48, 20


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write(tmp_path)


def every(pool: TensorPool | LatentPool, split: str) -> torch.Tensor:
    return pool.gather(split, np.arange(pool.size(split)))  # type: ignore[arg-type]


def pairs(x: torch.Tensor) -> torch.Tensor:
    """What the tiny encoder computes, written another way."""
    flat = x.flatten(1).float()
    return flat[:, 0::2] + flat[:, 1::2]


# --- what it gives -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 48, 64])
def test_latents_are_those_of_each_sample_in_its_place(tiny: Path, batch_size: int):
    pool = latents(tiny, batch_size=batch_size)
    for split in ("train", "test"):
        wanted = pairs(every(small.pool(), split))
        assert torch.equal(every(pool, split), wanted)
        assert np.array_equal(pool.labels(split), small.pool().labels(split))
    assert (pool.size("train"), pool.size("test")) == (N_TRAIN, N_TEST)
    assert (pool.input_shape, pool.dtype, pool.n_classes) == ((3,), torch.float32, 4)
    index = np.array([5, 0, 5, 19])
    assert torch.equal(pool.gather("test", index), every(pool, "test")[index])


def test_a_sample_is_scaled_to_the_unit_range(tiny: Path):
    assert torch.allclose(every(latents(tiny, IMAGES), "test"), pairs(every(IMAGES, "test") / 255))


def test_half_precision(tiny: Path):
    pool = latents(tiny, dtype="float16")
    assert pool.dtype == every(pool, "train").dtype == torch.float16
    assert torch.equal(every(pool, "train"), pairs(every(small.pool(), "train")).half())
    assert pool.sha256 != latents(tiny).sha256


@given(st.floats(1e-12, 1e12))
def test_the_scale_is_a_power_of_two_that_brings_latents_to_about_one(mean_square: float):
    scale = latent._power_of_two(mean_square)
    assert np.log2(scale) == round(np.log2(scale))
    if 1 / 256 <= mean_square <= 1:
        assert scale == 1
    else:
        assert 0.7 < scale * mean_square**0.5 < 1.42


def test_the_scale_follows_the_training_latents(tiny: Path):
    assert latents(tiny, factor=0.25).scale == 1.0
    assert latents(tiny, factor=2**-20).scale > 2**15
    large = latents(tiny, factor=64.0)
    assert large.scale in (1 / 64, 1 / 32, 1 / 128)
    assert 0.7 < float((every(large, "train") * large.scale).square().mean().sqrt()) < 1.42


def test_identity_gives_the_raw_values(tmp_path: Path):
    pool = latents("identity", IMAGES)
    assert torch.equal(every(pool, "train"), every(IMAGES, "train").flatten(1) * (1 / 255))
    assert (pool.scale, pool.frozen_bytes, pool.meta.flops_per_sample) == (1.0, 4, 0)


def test_strategies_on_identity_are_strategies_on_pixels():
    words = ["scenario=scole", "scenario.n_tasks=4", "strategy=naive", "model=mlp"]
    records = []
    for encoder in ("none", "identity"):
        run = small.run(*words, f"encoder={encoder}", "model.hidden=[8]", on=IMAGES)
        records.append(small.record_of(run, *small.go(run)))
    assert records[0].counts == records[1].counts
    assert records[0].cost["train_flops"] == records[1].cost["train_flops"]


# --- once ----------------------------------------------------------------------------------------


def test_a_second_pool_encodes_nothing(tiny: Path):
    first = latents(tiny, batch_size=16)
    assert calls(tiny) == [16] * 5  # 3 of train, 2 of test, the last filled up
    again = latents(tiny, batch_size=16)
    assert len(calls(tiny)) == 5
    assert torch.equal(every(first, "train"), every(again, "train"))
    assert first.meta == again.meta


def test_seeds_and_strategies_encode_nothing_anew(tiny: Path):
    hashes = set()
    for seed in range(3):
        for strategy in ("naive", "joint"):
            point = {"scenario": "scole", "strategy": strategy, "encoder": str(tiny)}
            run = prepare(resolve_point({**point, "seed": seed, "device": "cpu"}))
            run.stream.experience(0)
            hashes.add(run.stream.pool.sha256)
    assert len(hashes) == 1
    assert len(calls(tiny)) == -(-1442 // 64) + -(-355 // 64)


def test_whatever_changes_latents_is_another_recipe(tiny: Path, tmp_path: Path):
    base = latents(tiny)
    other = write(tmp_path, TINY.replace("x.flatten(1)", "1 - x.flatten(1)"), "other.py")
    tiny_again = write(tmp_path / "cache", TINY.replace('"""Takes', '"""It takes'))
    assert latents(tiny_again).sha256 == base.sha256  # the same code, other words and place
    changed = [
        latents(tiny, factor=2.0),  # weights
        latents(tiny, batch_size=3),
        latents(tiny, dtype="float16"),
        latents(tiny, small.pool(n_test=6)),  # data
        latents(other),  # code
    ]
    hashes = [pool.sha256 for pool in changed]
    assert len({base.sha256, *hashes}) == 1 + len(changed)


def test_tuning_opens_no_test_sample(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    made = resolve_point(
        {"scenario": "scole", "strategy": "naive", "encoder": str(tiny), "evaluate_on": "val"}
    )
    pool = load_pool(made, CPU)
    raw = made.data.pool(CPU)
    assert pool.size("train") + pool.size("test") == raw.size("train")
    assert sum(calls(tiny)) < raw.size("train") + 128
    assert torch.equal(every(pool, "test"), pairs(every(raw.tuning(), "test") / 16))
    assert latents(tiny).tuning().sha256 == latents(tiny, small.pool().tuning()).sha256


def test_a_pool_is_loaded_once_for_a_sweep(tiny: Path):
    pools: dict[object, object] = {}
    made = config(tiny)
    first = load_pool(made, CPU, pools)  # type: ignore[arg-type]
    assert load_pool(made, CPU, pools) is first  # type: ignore[arg-type]
    assert load_pool(config(tiny, factor=3.0), CPU, pools) is not first  # type: ignore[arg-type]
    assert len(pools) == 2  # the raw pool, and one of latents
    assert load_pool(config("none"), CPU, pools) is first.raw  # type: ignore[arg-type]


# --- transforms ----------------------------------------------------------------------------------


def test_transforms_act_on_raw_samples(tiny: Path):
    pool = latents(tiny, IMAGES, batch_size=16)
    index = np.array([3, 1, 2])
    wanted = pairs((255 - IMAGES.gather("train", index)) / 255)
    before = len(calls(tiny))
    assert torch.allclose(pool.changed("train", index, lambda x: 255 - x), wanted)
    assert (len(calls(tiny)) - before, pool.encoded) == (1, 3)


def test_what_a_transform_leaves_alone_comes_from_the_cache(tiny: Path):
    pool = latents(tiny, IMAGES)
    before = len(calls(tiny))
    unchanged = pool.changed("test", np.array([0, 4]), lambda x: x)
    assert torch.equal(unchanged, pool.gather("test", np.array([0, 4])))
    assert (len(calls(tiny)), pool.encoded) == (before, 0)


@pytest.mark.parametrize("transform", ["rotated", "permuted", "corrupted"])
def test_domains_are_those_of_the_images(tiny: Path, transform: str):
    words = [f"scenario.transform={transform}", "scenario.n_tasks=3", "data.augment=none"]
    made = ["scenario=domain_incremental", "strategy=naive", *words]
    raw = small.run(*made, on=IMAGES).stream
    encoded = small.run(*made, f"encoder={tiny}", on=IMAGES).stream
    for t in range(3):
        a, b = raw.experience(t), encoded.experience(t)
        assert torch.allclose(pairs(a.x / 255), b.x)
        assert torch.equal(a.y, b.y)
        assert torch.equal(a.key, b.key)
    assert torch.allclose(pairs(raw.world().x / 255), encoded.world().x)


def test_corruptions_know_the_scale_of_the_images(tiny: Path):
    made = ["scenario=domain_incremental", "strategy=naive", "scenario.transform=corrupted"]
    stream = small.run(*made, f"encoder={tiny}", on=IMAGES).stream
    assert isinstance(stream.transform, Corrupt)
    assert stream.transform.scale == 1 / 255


def test_transforms_of_images_refuse_vectors_as_before(tiny: Path):
    made = ["scenario=domain_incremental", "strategy=naive", "scenario.transform=rotated"]
    with pytest.raises(UsageError, match="needs images"):
        small.run(*made, f"encoder={tiny}")


@pytest.mark.parametrize(
    "scenario",
    # One that is named after a colon takes the data of another library only.
    sorted(name for name, plugin in plugins("scenario").items() if not plugin.load().argument),
)
@pytest.mark.parametrize("encoder", ["tiny", "random:mlp"])
def test_every_scenario_composes(tiny: Path, scenario: str, encoder: str):
    on: Pool = small.pool(n_classes=10, n_train=8, n_test=2, shape=(8, 8))
    takes = plugins("scenario")[scenario].load().takes
    if takes is SynbolsPool:
        on = symbols()
    elif takes is PairsPool:
        settings = {"n_train": 80, "n_test": 20, "side": 44, "smallest": 8, "largest": 9}
        on = AllPairs(**settings).pool(torch.device("cpu"))
    chosen = str(tiny) if encoder == "tiny" else encoder
    run = small.run(
        f"scenario={scenario}", "strategy=naive", "max_tasks=2", f"encoder={chosen}", on=on
    )
    strategy, outcome = small.go(run)
    assert outcome.status == "completed", outcome.error
    record = small.record_of(run, strategy, outcome)
    assert record.encoder is not None
    assert record.cost["encode_samples"] >= 60


# --- costs and records ---------------------------------------------------------------------------


def test_bytes_and_operations_of_a_known_network(tmp_path: Path):
    pool = latents("random:mlp", small.pool(n_train=10, n_test=4), batch_size=16)
    weights = (6 * 64 + 64) + (64 * 64 + 64)
    assert pool.frozen_bytes == 4 * weights + 4  # and the scale of the first layer
    assert pool.meta.flops_per_sample == 2 * (6 * 64 + 64 * 64)
    run = small.run("scenario=scole", "scenario.n_tasks=2", "strategy=naive", "encoder=random:mlp")
    strategy, outcome = small.go(run)
    record = small.record_of(run, strategy, outcome)
    assert record.cost["frozen_bytes"] == pool.frozen_bytes
    assert record.cost["encode_samples"] == N_TRAIN + N_TEST
    assert record.cost["encode_flops"] == 2 * (6 * 64 + 64 * 64) * (N_TRAIN + N_TEST)
    assert record.metric("encode_flops") == record.cost["encode_flops"]
    assert record.sources["encoder"]
    assert record.config["encoder"]["of"] == "mlp"


def test_transformed_samples_count_in_every_run_and_once_when_resumed(tiny: Path):
    made = ["scenario=domain_incremental", "scenario.transform=rotated", "scenario.n_tasks=3"]
    run = small.run(*made, "strategy=naive", f"encoder={tiny}", "checkpoint_seconds=0", on=IMAGES)
    wanted = N_TRAIN + N_TEST + 2 * (N_TRAIN + N_TEST)  # all once; and in two other domains
    saved: list[dict[str, object]] = []
    for _ in range(2):
        strategy, outcome = small.go(run, save=lambda ledger, _: saved.append(ledger.to_dict()))
        record = small.record_of(run, strategy, outcome)
        assert record.cost["encode_samples"] == wanted
    assert len(saved) > 4
    for books in saved:
        ledger = type(outcome.ledger).from_dict(copy.deepcopy(books))
        again = small.run_stream(run, strategy, ledger)
        assert again.ledger.encoded == outcome.ledger.encoded


def test_runs_without_an_encoder_say_nothing_of_it():
    run = small.run("scenario=scole", "scenario.n_tasks=2", "strategy=naive")
    strategy, outcome = small.go(run)
    record = small.record_of(run, strategy, outcome)
    assert record.encoder is None
    assert "encoder" not in {**record.to_dict(), **record.config, **record.sources}
    assert not any("encode" in name for name in record.cost)
    assert record.metric("encode_flops") is None
    shown = {column.key for column in columns_of([row.values for row in summarise([record])])}
    assert "train_flops" in shown
    assert "encode_flops" not in shown


def test_a_resident_matrix_is_sliced(tiny: Path):
    """An epoch over latents touches neither the encoder nor the file."""
    run = small.run("scenario=scole", "scenario.n_tasks=5", "strategy=naive", f"encoder={tiny}")
    before = len(calls(tiny))
    small.go(run)
    assert len(calls(tiny)) == before
    assert run.stream.pool.encoded == 0


# --- refusals ------------------------------------------------------------------------------------


def refusal(encoder: str | Path, on: TensorPool | None = None, **settings: object) -> str:
    with pytest.raises(UsageError) as caught:
        latents(encoder, on, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_latents_that_are_no_numbers_are_refused_and_not_kept(tiny: Path, tmp_path: Path):
    broken = write(tmp_path, TINY.replace("* self.factor", "/ 0"), "broken.py")
    assert "NaN or infinite" in refusal(broken)
    assert "set encoder.dtype=float32" in refusal(tiny, factor=1e6, dtype="float16")
    kept = [path.name for path in (tmp_path / "cache" / "latents").iterdir()]
    assert all(name.endswith(".lock") for name in kept)
    assert latents(tiny, factor=1e6).dtype == torch.float32


def test_latents_must_be_vectors(tmp_path: Path):
    text = TINY.replace(".sum(2) * self.factor", " * self.factor")
    assert "must give (n, d)" in refusal(write(tmp_path, text))


def test_what_a_users_encoder_raises_gets_one_line(tmp_path: Path):
    text = TINY.replace("return Net(self.factor, scale)", "return [][3]")
    said = refusal(write(tmp_path, text))
    assert "tiny.py line " in said
    assert "cannot be built for samples of shape (6,): IndexError: list index out of range" in said


def test_augmentation_needs_images(tiny: Path):
    made = ["scenario=scole", "strategy=naive", f"encoder={tiny}", "data.augment=crop_flip"]
    with pytest.raises(UsageError, match=r"set data\.augment=none"):
        small.run(*made, on=IMAGES)
