"""Domain-incremental streams: what is trained and tested in which domain."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CPU, arrays, go, pool, record_of, run
from test_scenarios import IMAGES, TEN, make

from clbench.data.corruptions import KINDS
from clbench.data.pool import TensorPool
from clbench.errors import UsageError


@pytest.mark.parametrize(("n", "probed"), [(10, 10), (32, 32), (33, 32), (500, 32)])
def test_domain_incremental_probes_at_most_32_domains(n: int, probed: int):
    stream = make("domain_incremental", n_tasks=n)
    assert len(stream.cells) == 10 * probed
    assert sum(stream.view(t) is not None for t in range(n)) == probed


def test_domain_incremental_endless():
    stream = make("domain_incremental", n_tasks=None)
    assert stream.n_tasks is None
    assert stream.view(31) is not None
    assert stream.view(32) is None
    assert len(stream.experience(10_000)) == 30


@pytest.mark.parametrize("chunk", [1, 4, None])
def test_online_permuted_delivers_every_image_once_a_task_in_a_new_order(chunk: int | None):
    """Dohare et al. 2024: one permutation a task, each image once, one at a time, without end."""
    stream = make("domain_incremental", IMAGES, n_tasks=None, chunk=chunk)
    assert stream.n_tasks is None
    orders, looks = [], []
    for t in (0, 1, 2, 500):
        start, stop = stream.n_experiences(t), stream.n_experiences(t + 1)
        assert stop - start == (1 if chunk is None else -(-24 // chunk))
        draws = [stream.draw(number) for number in range(start, stop)]
        assert [d.task for d in draws] == [t] * len(draws)
        index = np.concatenate([d.index for d in draws])
        assert sorted(index) == list(range(24))
        x = np.concatenate([stream.gather(d).x.flatten(1).numpy() for d in draws])
        raw = IMAGES.gather("train", np.arange(24)).flatten(1).numpy()
        columns = [tuple(column) for column in raw[index].T]
        assert sorted(columns) == sorted(tuple(column) for column in x.T), "one permutation for all"
        orders.append(index.tolist())
        looks.append(x[np.argsort(index)].tolist())
    assert len({tuple(order) for order in orders}) == 4
    assert all(a != b for a, b in itertools.combinations(looks, 2))
    whole = make("domain_incremental", IMAGES, n_tasks=None)
    assert whole.draw(500).index.tolist() == orders[-1]


def test_domain_incremental_trains_and_tests_in_the_same_domain():
    """The permutation of task t maps raw samples to both what is learnt and what is scored."""
    stream = make("domain_incremental", n_tasks=3)
    raw = make("scole", n_tasks=1)
    for t in range(3):
        task = stream.experience(t)
        order = None
        plain = TEN.gather("train", stream.draw(t).index)
        for columns in itertools.permutations(range(6)):
            if task.x.tolist() == plain[:, list(columns)].tolist():
                order = list(columns)
        assert order is not None
        assert (order == list(range(6))) == (t == 0)
        world = stream.world()
        mine = world.x[(world.cell // 10) == t]
        assert sorted(mine.tolist()) == sorted(raw.world().x[:, order].tolist())


def test_domain_incremental_rotates_evenly():
    stream = make("domain_incremental", IMAGES, transform="rotated", n_tasks=4, max_degrees=90.0)
    assert stream.transform.degrees == (0.0, 30.0, 60.0, 90.0)  # type: ignore[union-attr]
    upright, turned = stream.draw(0), stream.experience(3)
    assert stream.experience(0).x.tolist() == IMAGES.gather("train", upright.index).tolist()
    raw = IMAGES.gather("train", stream.draw(3).index).numpy()
    quarter = [np.rot90(image, k) for image in raw for k in (1,)]
    assert np.abs(np.array(quarter).astype(int) - turned.x.numpy().astype(int)).max() <= 1


def test_domain_incremental_corrupts_by_kind():
    stream = make("domain_incremental", IMAGES, transform="corrupted", n_tasks=17)
    assert stream.transform.kinds == tuple(KINDS)  # type: ignore[union-attr]
    with pytest.raises(UsageError):
        make("domain_incremental", IMAGES, transform="corrupted", n_tasks=18)


def test_domain_samples_are_different_samples():
    stream = make("domain_incremental", n_tasks=4)
    keys = [set(stream.draw(t).keys) for t in range(4)]
    assert len(set.union(*keys)) == 4 * 30


@pytest.mark.parametrize("transform", ["rotated", "corrupted"])
def test_vectors_cannot_be_rotated_or_corrupted(transform: str):
    with pytest.raises(UsageError, match="images"):
        make("domain_incremental", transform=transform)


def test_split_is_which_of_its_pair_a_digit_is():
    """Hsu et al. 2018: pairs in the order of the data, labels modulo 2."""
    stream = make("domain_incremental", transform="split", class_order="data")
    assert stream.labels_in == ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    assert (stream.n_tasks, stream.n_classes) == (5, 2)
    of = TEN.labels("train")
    for t in range(5):
        draw, task = stream.draw(t), stream.experience(t)
        assert draw.labels.tolist() == (of[draw.index] % 2).tolist() == task.y.tolist()
        assert set(of[draw.index].tolist()) == {2 * t, 2 * t + 1}
        assert task.classes is not None
        assert task.classes.tolist() == [0, 1]
        assert task.x.tolist() == TEN.gather("train", draw.index).tolist()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 10),
    st.integers(1, 12) | st.none(),
    st.sampled_from(["seed", "data"]),
    st.integers(0, 99),
)
def test_split_holds_every_test_sample_once_under_its_place_in_the_group(
    per_task: int, n_tasks: int | None, order: str, seed: int
):
    stream = make(
        "domain_incremental",
        seed=seed,
        transform="split",
        classes_per_task=per_task,
        n_tasks=n_tasks,
        class_order=order,
    )
    groups = stream.labels_in
    assert groups is not None
    n_groups = -(-10 // per_task)
    assert len(groups) == stream.n_tasks == min(n_groups, n_tasks or n_groups)
    assert all(list(group) == sorted(group) for group in groups)
    labels = [label for group in groups for label in group]
    assert len(set(labels)) == len(labels) == len(stream.cells)
    world = stream.world()
    for number, (cell, label) in enumerate(zip(stream.cells, labels, strict=True)):
        assert (
            groups[cell.domain][cell.label] == label == stream.pool_label(cell.label, cell.domain)
        )
        mine = world.cell == number
        test = TEN.gather("test", np.flatnonzero(TEN.labels("test") == label))
        assert sorted(world.x[mine].tolist()) == sorted(test.tolist())
        assert set(world.y[mine].tolist()) == {cell.label}
    delivered = np.concatenate([stream.draw(t).index for t in range(len(groups))])
    assert sorted(delivered) == sorted(np.flatnonzero(np.isin(TEN.labels("train"), labels)))
    views = [stream.view(t) for t in range(len(groups))]
    assert sorted(c for view in views if view is not None for c in view) == [*range(len(labels))]


def test_the_record_of_a_split_stream_counts_each_class_of_the_data():
    """Classes of unequal size, so that a cell of another class would show."""
    words = ("scenario=domain_incremental", "scenario.transform=split", "strategy=naive")
    one = run(*words, "scenario.class_order=data", on=pool(n_classes=5, n_train=12, n_test=5))
    record = record_of(one, *go(one))
    cells = [(c["domain"], c["label"], c["size"]) for c in record.counts["cells"]]
    assert cells == [(0, 0, 5), (0, 1, 5), (1, 0, 5), (1, 1, 5), (2, 0, 5)]
    assert record.metrics["average_accuracy"]["n_terms"] == 3


ORDER = (3, 0, 2, 1)


@pytest.mark.parametrize("transform", ["rotated", "corrupted"])
def test_domains_come_in_the_order_that_is_given(transform: str):
    plain = make("domain_incremental", IMAGES, transform=transform, n_tasks=4)
    words = {"transform": transform, "n_tasks": 4, "domain_order": list(ORDER)}
    ordered = make("domain_incremental", IMAGES, **words)
    assert [ordered.plan(t).domain for t in range(4)] == list(ORDER)
    for t in range(4):
        assert ordered.plan(t) == plain.plan(ORDER[t])
    assert ordered.world().x.equal(plain.world().x)
    drawn = set()
    for seed in range(6):
        stream = make(
            "domain_incremental",
            IMAGES,
            seed,
            transform=transform,
            n_tasks=4,
            domain_order="seed",
        )
        drawn.add(tuple(stream.plan(t).domain for t in range(4)))
    assert len(drawn) > 3
    assert all(sorted(order) == [0, 1, 2, 3] for order in drawn)  # type: ignore[type-var]


def permuted_labels(n: int, seed: int, t: int) -> np.ndarray:
    """The labels of the data's classes in task t, from the recipe alone."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, t)))
    return np.arange(n) if t == 0 else rng.permutation(n)


@pytest.mark.parametrize("n_tasks", [None, 5])
def test_permuted_labels_are_those_of_the_recipe_in_training_and_testing(n_tasks: int | None):
    stream = make("domain_incremental", seed=3, transform="labels", n_tasks=n_tasks)
    assert stream.n_tasks == n_tasks
    of, keys = TEN.labels("train"), set()
    for t in (0, 1, 4) if n_tasks else (0, 1, 4, 10_000):
        draw, task = stream.draw(t), stream.experience(t)
        wanted = permuted_labels(10, 3, t)
        assert task.y.tolist() == wanted[of[draw.index]].tolist()
        assert task.x.equal(TEN.gather("train", draw.index))
        keys |= set(draw.keys.tolist())
    assert len(keys) == (3 if n_tasks else 4) * 30
    world = stream.world()
    for number, cell in enumerate(stream.cells):
        [mine] = np.flatnonzero(permuted_labels(10, 3, cell.domain) == cell.label)
        raw = TEN.gather("test", np.flatnonzero(TEN.labels("test") == mine))
        assert sorted(world.x[world.cell == number].tolist()) == sorted(raw.tolist())
        assert set(world.y[world.cell == number].tolist()) == {cell.label}


def in_superclasses() -> TensorPool:
    """Six classes in three super-classes of two, in no order."""
    few = dataclasses.replace(
        arrays(n_classes=6, n_train=4, n_test=2), superclasses=(2, 0, 1, 1, 0, 2)
    )
    return TensorPool(few, CPU)


def test_superclasses_are_labels_whose_classes_come_one_a_task():
    on = in_superclasses()
    of = np.array(on.superclasses)
    stream = make("domain_incremental", on, transform="superclasses", class_order="data")
    assert stream.labels_in == ((1, 2, 0), (4, 3, 5))
    assert (stream.n_tasks, stream.n_classes) == (2, 3)
    for t in range(2):
        draw = stream.draw(t)
        assert draw.labels.tolist() == of[on.labels("train")[draw.index]].tolist()
    given = make("domain_incremental", on, transform="superclasses", class_order="[5,4,3,2,1,0]")
    assert given.labels_in == ((4, 3, 5), (1, 2, 0))
    uneven = dataclasses.replace(arrays(n_classes=3), superclasses=(0, 1, 1))
    with pytest.raises(UsageError, match="as many classes"):
        make("domain_incremental", TensorPool(uneven, CPU), transform="superclasses")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"classes_per_task": 2}, "scenario.classes_per_task=2 needs scenario.transform=split"),
        ({"class_order": "data"}, "scenario.class_order=data needs scenario.transform=split"),
        ({"domain_order": "seed"}, "scenario.domain_order=seed needs scenario.transform=rotated"),
        (
            {"transform": "split", "class_order": "[1,0]"},
            "scenario.class_order orders 2; the data have 10 classes",
        ),
        (
            {"transform": "rotated", "n_tasks": 3, "domain_order": "[0,1]"},
            "scenario.domain_order orders 2; there are 3 domains",
        ),
        ({"transform": "superclasses"}, "these data have no super-classes"),
        ({"transform": "split", "classes_per_task": 1}, "scenario.classes_per_task"),
        ({"transform": "split", "classes_per_task": 11}, "the data have 10 classes"),
        ({"transform": "rotated", "n_tasks": None}, "scenario.transform=rotated is not endless"),
        ({"severity": 2}, "scenario.severity has no effect with scenario.transform=permuted"),
        ({"transform": "corrupted", "max_degrees": 90.0}, "scenario.max_degrees has no effect"),
    ],
)
def test_settings_of_split_are_refused_where_they_mean_nothing(given: dict[str, object], told: str):
    with pytest.raises(UsageError, match=told):
        make("domain_incremental", **given)
