"""Streams: functions of (settings, seed, t), cut into chunks, hashed as they are delivered."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import pool

from clbench import seeding
from clbench.data.transforms import Permute
from clbench.seeding import Axis
from clbench.stream import Stream, Task

CLASSES = [(0, 1), (2, 3), (0, 2), (1, 3), (0,), (1, 2, 3)]


def stream(**changes: object) -> Stream:
    given = {
        "pool": pool(),
        "seed": 5,
        "plan": lambda t: Task(CLASSES[t % len(CLASSES)]),
        "n_tasks": 12,
        "labels": (0, 1, 2, 3),
        **changes,
    }
    return Stream(**given)  # type: ignore[arg-type]


def test_a_task_delivers_all_samples_of_its_classes_once():
    s = stream()
    for t in range(6):
        draw = s.draw(t)
        wanted = np.flatnonzero(np.isin(pool().labels("train"), CLASSES[t]))
        assert sorted(draw.index) == list(wanted)
        assert (draw.labels == pool().labels("train")[draw.index]).all()
        assert not (draw.index == np.sort(draw.index)).all()
        assert (draw.task, draw.number, draw.ends_task) == (t, t, True)


def test_task_data_is_what_the_draw_says():
    s = stream()
    draw, task = s.draw(3), s.experience(3)
    assert torch.equal(task.x, pool().gather("train", draw.index))
    assert task.x.dtype == pool().dtype
    assert task.y.tolist() == draw.labels.tolist()
    assert task.key.tolist() == draw.keys.tolist()
    assert task.classes is not None
    assert task.classes.tolist() == list(CLASSES[3])
    assert task.ends_task is True
    assert task.task_id is None


def test_labels_are_those_of_the_stream_not_of_the_pool():
    s = stream(labels=(1, 3), plan=lambda t: Task((1,)))
    draw = s.draw(0)
    assert (pool().labels("train")[draw.index] == 3).all()
    assert (draw.labels == 1).all()
    assert s.n_classes == 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.floats(0.05, 1.0))
def test_chunks_concatenate_to_the_task(chunk: int, share: float):
    whole, cut = stream(share=share), stream(share=share, chunk=chunk)
    number = 0
    for t in range(6):
        wanted = whole.draw(t)
        parts = []
        while True:
            parts.append(cut.draw(number))
            number += 1
            if parts[-1].ends_task:
                break
        assert {p.task for p in parts} == {t}
        assert all(len(p.index) == chunk for p in parts[:-1])
        assert 1 <= len(parts[-1].index) <= chunk
        for name in ("index", "labels", "keys"):
            joined = np.concatenate([getattr(p, name) for p in parts])
            assert (joined == getattr(wanted, name)).all()
        assert cut.n_experiences(t + 1) == number


def test_small_chunks_plan_a_task_no_more_often_than_large_ones():
    """Batch 1 costs per task what larger batches do: the order is drawn once, in any chunks."""
    asked: list[int] = []

    def plan(t: int) -> Task:
        asked.append(t)
        return Task(CLASSES[t % len(CLASSES)])

    found = []
    for chunk in (1, 5):
        asked.clear()
        s = stream(plan=plan, chunk=chunk)
        for number in range(s.n_experiences(6)):
            s.draw(number)
        found.append(len(asked))
        assert len(s._latest) == 1, "one task is kept, however many have come"
    assert found[0] == found[1] <= 2 * 6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_chunks_of_any_tasks_in_any_order_are_those_of_a_new_stream(order: list[int]):
    s = stream(chunk=5)
    for number in order:
        fresh, again = stream(chunk=5).draw(number), s.draw(number)
        assert (fresh.index == again.index).all()
        assert (fresh.plan.classes, fresh.ends_task) == (again.plan.classes, again.ends_task)


def test_chunks_hide_the_boundaries():
    task = stream(chunk=7).experience(2)
    assert task.classes is None
    assert task.ends_task is None


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(8)), st.sampled_from([None, 5]))
def test_a_draw_does_not_depend_on_the_draws_before(order: list[int], chunk: int | None):
    s = stream(chunk=chunk)
    for number in order:
        fresh = stream(chunk=chunk).draw(number)
        again = s.draw(number)
        assert (fresh.index == again.index).all()
        assert (fresh.keys == again.keys).all()
        assert fresh.task == again.task


@pytest.mark.parametrize(("share", "wanted"), [(1.0, 24), (0.5, 12), (0.1, 2), (0.001, 1)])
def test_share_delivers_that_part_drawn_anew_for_every_task(share: float, wanted: int):
    s = stream(share=share, plan=lambda t: Task((0, 1)))
    draws = [s.draw(t).index for t in range(20)]
    assert {len(d) for d in draws} == {wanted}
    assert all(len(set(d)) == wanted for d in draws)
    assert len({tuple(sorted(d)) for d in draws}) > (1 if share < 1 else 0)


def test_share_is_uniform_over_the_samples():
    s = stream(share=0.25, plan=lambda t: Task((0, 1)))
    times = np.bincount(np.concatenate([s.draw(t).index for t in range(2000)]), minlength=24)[:24]
    chi2 = ((times - 500) ** 2 / (500 * 0.75)).sum() * 23 / 24
    assert chi2 < 49.7  # 99.9 % of chi-square with 23 degrees of freedom


def test_keys_are_equal_iff_the_sample_is():
    s = stream()
    key_of: dict[int, int] = {}
    for t in range(12):
        draw = s.draw(t)
        for index, key in zip(draw.index.tolist(), draw.keys.tolist(), strict=True):
            assert key_of.setdefault(index, key) == key
    assert len(set(key_of.values())) == len(key_of) == 48
    changed = stream(plan=lambda t: Task((0, 1, 2, 3), variant=t))
    assert not set(changed.draw(0).keys) & set(changed.draw(1).keys)
    assert set(changed.draw(0).keys) == set(key_of.values())
    assert not set(stream(seed=6).draw(0).keys) & set(key_of.values())


def test_epochs_shuffle_alike_for_everyone_and_the_first_does_not():
    task, again = stream().experience(1), stream().experience(1)
    assert task.epoch(0) is None
    second = task.epoch(1)
    assert second is not None
    assert again.epoch(1).tolist() == second.tolist()  # type: ignore[union-attr]
    assert sorted(second.tolist()) == list(range(len(task)))
    assert task.epoch(2).tolist() != second.tolist()  # type: ignore[union-attr]
    assert stream().experience(7).epoch(1).tolist() != second.tolist()  # type: ignore[union-attr]


def test_the_hash_depends_on_pool_order_and_what_was_delivered():
    s = stream()
    base = s.sha256
    assert base == stream(seed=9).sha256
    assert base != stream(pool=pool(n_train=13)).sha256
    a, b = s.draw(0), s.draw(1)
    ab, ba = s.extend(s.extend(base, a), b), s.extend(s.extend(base, b), a)
    assert len({base, s.extend(base, a), s.extend(base, b), ab, ba}) == 5


def test_the_hash_covers_transforms():
    same = {"plan": lambda t: Task((0,), domain=t, transform=t)}
    a = stream(**same, transform=Permute(1, 5))
    b = stream(**same, transform=Permute(2, 5))
    assert a.extend(a.sha256, a.draw(1)) != b.extend(b.sha256, b.draw(1))
    assert a.extend(a.sha256, a.draw(0)) == b.extend(b.sha256, b.draw(0))  # both the identity


@pytest.mark.parametrize("n", [1, 31, 32])
def test_few_domains_are_all_evaluated(n: int):
    assert stream(n_domains=n).domains == tuple(range(n))


@pytest.mark.parametrize("n", [33, 34, 50, 63, 64, 65, 100, 1000, 10_000])
def test_many_domains_are_probed_at_32_spread_evenly(n: int):
    domains = stream(n_domains=n).domains
    assert len(set(domains)) == 32
    assert (domains[0], domains[-1]) == (0, n - 1)
    steps = np.diff(domains)
    assert steps.max() - steps.min() <= 1


def test_an_endless_stream_of_domains_probes_the_first_32():
    assert stream(n_domains=None, n_tasks=None).domains == tuple(range(32))


def test_views_name_the_cells_of_a_task():
    s = stream(n_domains=40, plan=lambda t: Task((1, 3), domain=t), n_tasks=40)
    probed = s.domains
    for t in range(40):
        view = s.view(t)
        if t not in probed:
            assert view is None
        else:
            assert [(s.cells[c].label, s.cells[c].domain) for c in view or ()] == [(1, t), (3, t)]


def marked(t: int) -> Task:
    """Every other training sample, each permuted in a way of its own."""
    index = np.arange(t % 2, 48, 2)
    return Task((0, 1, 2, 3), None, index=index, attribute=(index * 7 + t) % 3)


def marked_stream(**changes: object) -> Stream:
    given = {"transform": Permute(3, 3), "n_domains": 3, "groups": True, **changes}
    return stream(plan=marked, **given)


def test_each_sample_goes_through_the_transform_of_its_attribute():
    s = marked_stream()
    for t in range(4):
        draw, task = s.draw(t), s.experience(t)
        assert draw.attribute is not None
        assert (draw.attribute == (draw.index * 7 + t) % 3).all()
        raw = pool().gather("train", draw.index)
        for x, row, a in zip(task.x, raw, draw.attribute.tolist(), strict=True):
            assert torch.equal(x, Permute(3, 3)(row[None], a, torch.Generator())[0])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.floats(0.1, 1.0))
def test_chunks_keep_the_attribute_of_each_sample(chunk: int, share: float):
    whole, cut = marked_stream(share=share), marked_stream(share=share, chunk=chunk)
    parts = [cut.draw(n) for n in range(cut.n_experiences(1))]
    for name in ("index", "attribute", "keys"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert (joined == getattr(whole.draw(0), name)).all()


def test_keys_tell_sample_and_attribute_and_nothing_else():
    s = marked_stream()
    seen: dict[int, tuple[int, int]] = {}
    for t in range(12):
        draw = s.draw(t)
        assert draw.attribute is not None
        for key, *what in zip(draw.keys.tolist(), draw.index, draw.attribute, strict=True):
            assert seen.setdefault(key, tuple(what)) == tuple(what)
    assert len(seen) == len(set(seen.values())) == 48 * 3


def test_the_hash_covers_attributes_and_what_they_do():
    s = marked_stream()
    draw = s.draw(0)
    assert draw.attribute is not None
    other = dataclasses.replace(draw, attribute=draw.attribute[::-1].copy())
    chains = {s.extend("", draw), s.extend("", other)}
    chains.add(marked_stream(transform=Permute(4, 3)).extend("", draw))
    assert len(chains) == 3


def test_a_task_without_a_domain_is_measured_in_all_of_them():
    s = marked_stream()
    assert s.view(5) == tuple(range(12))
    assert [cell.domain for cell in s.cells] == [0] * 4 + [1] * 4 + [2] * 4
    some = marked_stream(n_domains=40, transform=Permute(3, 40))
    assert some.view(0) == tuple(range(4 * 32))


@pytest.mark.parametrize(
    "wrong",
    [
        {"index": None},
        {"index": np.arange(4)},
        {"transform": 0},
        {"variant": 1},
    ],
    ids=str,
)
def test_attributes_are_one_for_each_sample_and_in_place_of_the_transform(wrong: dict[str, object]):
    good: dict[str, object] = {"index": np.arange(3), "attribute": np.arange(3)}
    Task((0,), **good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Task\.attribute"):
        Task((0,), **{**good, **wrong})  # type: ignore[arg-type]


def test_task_ids_make_cells_of_their_own():
    s = stream(task_ids=True, n_tasks=3)
    assert [(c.label, c.task_id) for c in s.cells] == [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 1),
        (0, 2),
        (2, 2),
    ]
    assert s.view(2) == (4, 5)
    assert s.experience(1).task_id.tolist() == [1] * 24  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="must have an end"):
        _ = stream(task_ids=True, n_tasks=None).cells


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**70),
    st.lists(st.integers(0, 2**40), max_size=3),
    st.integers(0, 2**70),
    st.lists(st.integers(0, 2**40), max_size=3),
    st.sampled_from(list(Axis)),
    st.sampled_from(list(Axis)),
)
def test_axes_do_not_meet(s1: int, k1: list[int], s2: int, k2: list[int], a1: Axis, a2: Axis):
    """Also where keys differ only by zeros at their end (t=0 against no t)."""
    same = (s1, a1, k1) == (s2, a2, k2)
    assert (seeding.integer(s1, a1, *k1) == seeding.integer(s2, a2, *k2)) == same
    assert seeding.integer(s1, a1, *k1) != seeding.integer(s1, a1, *k1, 0)


def test_preserved_puts_everything_back():
    import random

    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    threads = torch.get_num_threads()

    def draws() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002

    def after(run: bool) -> tuple[float, float, float]:
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        if run:
            with pytest.raises(KeyError), seeding.preserved(threads + 1):  # noqa: PT012
                assert torch.get_num_threads() == threads + 1
                assert torch.are_deterministic_algorithms_enabled()
                seeding.seed_all(1, Axis.LEARN)
                draws()
                raise KeyError
        return draws()

    assert after(True) == after(False)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
